"""Things whose presence can be asked about, with the words that say so and those that hint at it.

A table, no code worth the name. All is lower case.
"""

# ruff: noqa: SIM905 - words in a row are easier to read and add to than a list of strings
from __future__ import annotations

from dataclasses import dataclass

from vipe.data.caption_words import (
    AMBIGUOUS_PEOPLE,
    ANIMALS,
    BOYS,
    CHILDREN,
    GIRLS,
    MEN,
    NOT_ALIVE,
    OTHER_ANIMALS,
    PERSON_PARTS,
    PERSON_WORDS,
    ROLES_MANY,
    WOMEN,
)


@dataclass(frozen=True, slots=True)
class Thing:
    """Something whose presence can be asked about.

    Attributes:
        name: As it is asked about, with its article: "a dog", "snow".
        said: Words of a caption that mean it is there.
        maybe: Words that do not say so, but forbid the answer "no".
        least: How many captions must say it before "yes" is asked.
        unless: Words that forbid the answer "yes".
    """

    name: str
    said: frozenset[str]
    maybe: frozenset[str]
    least: int = 1
    unless: frozenset[str] = frozenset()


WATERS = (
    "water ocean sea lake river stream pond pool creek waterfall surf surfing surfer "
    "surfers swimming swimmer swims swim rapids puddle fountain kayak kayaking kayaker canoe "
    "water_ski water_skiing water_skier underwater waters rafting sprinkler"
)
WATER_HINTS = (
    f"{WATERS} wave wet splash splashes splashing beach shore boat boats dock pier wakeboard "
    "diving dives raft bridge rain harbor canal paddling paddle bath bathtub wading surfboard "
    "surfs coast hose waves fishing coastline float floating wetsuit bottle water_bottle"
)
TREES = "tree trees forest woods wooded palm palms tree_branch tree_trunk"
OUTDOOR_GREEN = (
    "park yard backyard garden bushes bush branch branches leaves jungle trail path hill hillside "
    "mountain mountains outside outdoors field lawn grass grassy country countryside tree_house "
    "campsite camping swing playground log street road meadow"
)
GRASS_HINTS = (
    "field lawn grass grassy meadow yard backyard park golf soccer football garden pasture hill "
    "hillside baseball rugby cricket green soccer_field football_field baseball_field frisbee "
    "outside outdoors farm plants weeds hay brush playground lacrosse"
)


def _thing(name: str, said: str, maybe: str = "", least: int = 1, unless: str = "") -> Thing:
    """A thing of words in a row; `maybe` need not repeat `said`."""
    return Thing(
        name,
        frozenset(said.split()),
        frozenset(f"{maybe} {unless}".split()),
        least,
        frozenset(unless.split()),
    )


def _animal(name: str) -> Thing:
    words = " ".join(w for w, kind in ANIMALS.items() if kind == name)
    return _thing(f"a {name}", words, OTHER_ANIMALS, 2, NOT_ALIVE)


THINGS: tuple[Thing, ...] = (
    *(_animal(name) for name in "dog cat horse bird cow".split()),
    _thing("an animal", " ".join(ANIMALS) + " animal animals", OTHER_ANIMALS, 2, NOT_ALIVE),
    _thing("a person", " ".join([*PERSON_WORDS, PERSON_PARTS]), AMBIGUOUS_PEOPLE),
    _thing("people", f"{ROLES_MANY} men women boys girls children kids guys crowd group",
           " ".join(PERSON_WORDS) + AMBIGUOUS_PEOPLE, 2),
    _thing("a man", MEN, AMBIGUOUS_PEOPLE, 2),
    _thing("a woman", WOMEN, AMBIGUOUS_PEOPLE, 2),
    _thing("a boy", BOYS, f"{AMBIGUOUS_PEOPLE} {CHILDREN}", 2),
    _thing("a girl", GIRLS, f"{AMBIGUOUS_PEOPLE} {CHILDREN}", 2),
    _thing("a child", f"{CHILDREN} {BOYS} {GIRLS}", AMBIGUOUS_PEOPLE, 2),
    _thing("a baby", "baby babies infant", f"{CHILDREN} people family", 1, " ".join(ANIMALS)),
    _thing("a crowd", "crowd crowds crowded spectators audience", "people group team many stadium "
           "onlookers game race match parade players"),
    _thing("a car", "car cars race_car race_cars suv sedan taxi jeep", "vehicle vehicles truck van "
           "street road traffic parking driving drives racing toy_car toy_truck bumper_cars "
           "go_cart go_kart parked"),
    _thing("a truck", "truck trucks fire_truck pickup", "vehicle vehicles van car cars traffic "
           "toy_car toy_truck street parking"),
    _thing("a bus", "bus buses", "vehicle vehicles street traffic bus_stop bus_station"),
    _thing("a train", "train trains subway", "train_station train_tracks station rail platform"),
    _thing("a bicycle", "bicycle bicycles bicyclist bicyclists bmx cyclist cyclists bmxer "
           "bike bikes", "biker bikers bicycling biking rider cycling wheel", 1,
           "motorcycle motorcycles motorbike motorcyclist motocross motorcycling motorized atv"),
    _thing("a motorcycle", "motorcycle motorcycles motorbike motorcyclist motorcyclists motocross",
           "bike bikes biker bikers rider atv vehicle racer scooter"),
    _thing("a boat", "boat boats canoe kayak sailboat raft canoes kayaks rowboat", "ship dock "
           "harbor marina paddling rafting jetski paddle water sail rapids kayaking kayaker"),
    _thing("a skateboard", "skateboard skateboards skateboarder skateboarding skateboarders "
           "skateboards", "skater board skate skating ramp rail trick"),
    _thing("a snowboard", "snowboard snowboards snowboarder snowboarding snowboarders",
           "board snow skier ski"),
    _thing("a surfboard", "surfboard surfboards surfer surfing surfers surfs", "board wave surf "
           "waves wakeboard bodyboard"),
    _thing("an airplane", "airplane airplanes plane planes", "jet aircraft airport helicopter"),
    _thing("a ball", "ball balls football soccer basketball baseball volleyball tennis beach_ball "
           "softball basketballs", "game playing player players toy object fetch catch sport team "
           "bat rugby lacrosse golf bowling pitcher batter kick juggling snowball cricket"),
    _thing("a frisbee", "frisbee frisbees frisbe", "disc disk toy object catch catches"),
    _thing("a guitar", "guitar guitars guitarist", "instrument instruments band music musician "
           "musicians bass banjo concert rock stage singer"),
    _thing("snow", "snow snowy snowboard snowboarder snowboarding skiing skier skiers sled "
           "snowboarders", "snowman snowball ski skis winter ice icy white cold mountain mountains "
           "slope mountaintop glacier powder hill sledding snowsuit"),
    _thing("ice", "ice icy", "snow snowy skating hockey winter glacier rink frozen skates"),
    _thing("water", WATERS, WATER_HINTS),
    _thing("a beach", "beach beaches seashore seaside", "sand sandy shore ocean sea coast water "
           "waves surf shoreline lake bay surfer volleyball island waterfront surfboard"),
    _thing("an ocean", "ocean sea", "water beach waves wave surf surfer lake shore surfing coast "
           "bay boat shoreline surfs surfboard sand"),
    _thing("a river", "river stream creek rapids", "water lake pond canal rafting kayak canoe "
           "shore bridge boat waterfall raft waterway bank kayaker"),
    _thing("a pool", "pool pools", "water swimming swim swimmer swims diving slide splash"),
    _thing("a wave", "wave surfing surfer surfers surfs", "waves ocean sea surf surfboard water "
           "beach waving", 2),
    _thing("grass", "grass grassy lawn meadow", GRASS_HINTS, 1),
    _thing("sand", "sand sandy beach sandbox sandcastle dune dunes", "desert dirt shore volleyball "
           "ocean surf waves sea coast"),
    _thing("a mountain", "mountain mountains mountainside mountaintop", "hill hills cliff rock "
           "peak climbing climber snow hillside slope rocks view landscape hike hiking skiing "
           "skier rocky canyon snowboarder snowboard ski hiker valley rock_climbing"),
    _thing("a tree", TREES, f"{TREES} {OUTDOOR_GREEN}"),
    _thing("a forest", "forest woods wooded jungle", f"{TREES} {OUTDOOR_GREEN}"),
    _thing("a flower", "flower flowers rose roses tulips sunflower daisies flower_bed",
           "garden plant plants bouquet bride wedding field blossoms"),
    _thing("a street", "street streets road sidewalk", "city traffic crosswalk alley corner urban "
           "path downtown car cars building pavement highway parade outside intersection market "
           "bike bicycle skateboard protest"),
    _thing("a field", "field fields meadow soccer_field football_field baseball_field",
           GRASS_HINTS),
    _thing("a rock", "rock rocks rocky boulder boulders cliff rock_wall rock_climbing", "stone "
           "stones mountain mountains climbing climber shore river canyon ledge hill waterfall "
           "stream beach climbs trail formation hiking"),
    _thing("a building", "building buildings skyscraper skyscrapers church", "house city street "
           "store window wall urban brick town shop downtown home restaurant sidewalk doorway "
           "balcony roof hotel school station outside yard door hut barn market tower bus_stop"),
    _thing("a house", "house houses", "building buildings home yard backyard porch street "
           "neighborhood lawn roof hut outside"),
    _thing("a fire", "fire campfire bonfire flames", "flame fires smoke torch camping grill "
           "fireworks candle candles barbecue"),
    _thing("a bench", "bench benches", "seat sitting sits sit seated park table"),
    _thing("a chair", "chair chairs", "seat sitting sits sit table couch bench wheelchair seated "
           "desk restaurant room lounge stool"),
    _thing("a table", "table tables desk picnic_table", "eating restaurant food sitting kitchen "
           "dinner room sits counter billiards cafe bar drinking cake party"),
    _thing("a bed", "bed beds mattress", "bedroom sleeping blanket pillow couch sleeps laying"),
    _thing("a couch", "couch sofa", "chair armchair room bed sitting furniture indoors pillows"),
    _thing("an umbrella", "umbrella umbrellas parasol", "rain rainy tent shade"),
    _thing("a bottle", "bottle bottles water_bottle water_bottles", "drink drinking drinks beer "
           "beverage water wine bar alcohol soda"),
    _thing("a cup", "cup cups mug mugs", "drink drinking drinks coffee beverage glass beer tea "
           "soda table bowl"),
    _thing("a book", "book books", "reading reads newspaper magazine library paper bookstore"),
    _thing("a phone", "phone phones cellphone cellphones telephone", "talking cell device"),
    _thing("a camera", "cameras photographer camcorder", "camera picture pictures photo photos "
           "photograph photographing photographers filming video"),
    _thing("a balloon", "balloon balloons", "water_balloon party inflatable parade"),
    _thing("a flag", "flag flags", "banner parade banners kite ribbon"),
    _thing("a swing", "swing swingset swings", "playground rope swinging tire"),
    _thing("a toy", "toy toys teddy stuffed_animal stuffed_animals stuffed_bear stuffed_dog doll "
           "dolls toy_car toy_truck toy_horse stick_horse rocking_horse lego legos",
           "ball stuffed object mouth plastic game playing disc rope bubbles inflatable"),
    _thing("a stick", "stick sticks", "branch pole bat log wood wand object lacrosse hockey "
           "something poles cane"),
    _thing("a rope", "rope ropes", "harness climbing leash tug string climber swing cord line"),
    _thing("a tent", "tent tents", "camping camp canopy market campsite"),
    _thing("a bridge", "bridge bridges", "dock pier walkway river ledge overpass"),
    _thing("food", "food pizza sandwich cake ice_cream hot_dog hot_dogs fruit meal meat apple "
           "bread dinner lunch popcorn vegetables watermelon", "eating eats eat table restaurant "
           "kitchen cooking mouth picnic market snack cup plate grill bowl candy lollipop party"),
    _thing("a microphone", "microphone microphones mic", "singing singer sings concert stage band "
           "performing speaking karaoke performer"),
    _thing("a helmet", "helmet helmets hardhat", "biker cyclist motorcycle bike skateboarder "
           "rider football player hockey skier snowboarder bicycle motocross racer climber "
           "uniform hat gear horse snowboard players cap baseball skateboard skater rafting kayak"),
    _thing("a hat", "hat hats cap caps beanie", "helmet headgear hardhat hood costume uniform "
           "headband bandanna visor head baseball crowd hooded costumes people band"),
    _thing("a computer", "computer laptop computers laptops", "desk keyboard screen"),
    _thing("a kitchen", "kitchen", "cooking cook food stove restaurant sink cooks"),
    _thing("a slide", "slide", "playground slides sliding pool", 2),
    _thing("a bag", "bag bags backpack backpacks purse", "luggage suitcase carrying hiking hiker "
           "shopping sack pack hikers"),
)  # fmt: skip
