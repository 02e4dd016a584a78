"""Words that the caption rules know: things with their synonyms, people, colours, places, verbs.

Lists, no code worth the name: a word is added here, a rule in `captions.py`. All is lower case.
"""

# ruff: noqa: SIM905 - words in a row are easier to read and add to than a list of strings
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thing:
    """Something whose presence can be asked about.

    Attributes:
        name: As it is asked about, with its article: "a dog", "snow".
        said: Words of a caption that mean it is there.
        maybe: Words that do not say so, but forbid the answer "no".
        least: How many captions must say it before "yes" is asked.
    """

    name: str
    said: frozenset[str]
    maybe: frozenset[str]
    least: int = 1


# Two words that mean something else than each does alone.
COMPOUNDS: dict[str, str] = {
    "hot dog": "hotdog", "hot dogs": "hotdogs", "pool table": "billiards",
    "dirt bike": "motorcycle", "dirt bikes": "motorcycles", "motor bike": "motorcycle",
    "dirt biker": "motorcyclist", "motor cycle": "motorcycle", "motocross bike": "motorcycle",
    "dirt biking": "motorcycling", "teddy bear": "teddy", "stuffed animal": "plush",
    "stuffed animals": "plush", "stuffed bear": "plush", "stuffed dog": "plush",
    "toy dog": "plush", "toy car": "toycar", "toy truck": "toycar", "toy horse": "toyhorse",
    "stick horse": "toyhorse", "rocking horse": "toyhorse", "plastic horse": "toyhorse",
    "carousel horse": "toyhorse", "monkey bars": "monkeybars", "monkey bar": "monkeybars",
    "ice cream": "icecream", "water bottle": "waterbottle", "water bottles": "waterbottles",
    "bus stop": "busstop", "train station": "trainstation", "train tracks": "traintracks",
    "train track": "traintracks", "tree house": "treehouse", "baseball cap": "cap",
    "baseball hat": "hat", "cowboy hat": "hat", "ball cap": "cap", "ball gown": "gown",
    "beach ball": "beachball", "fire hydrant": "hydrant", "fire truck": "firetruck",
    "fire engine": "firetruck", "fire escape": "fireescape", "fire works": "fireworks",
    "snow cone": "snowcone", "street sign": "streetsign", "street lamp": "streetlamp",
    "car seat": "carseat", "sea lion": "sealion", "field hockey": "hockey",
    "pick up": "pickup", "rock climbing": "rockclimbing", "rock climber": "climber",
    "rock wall": "rockwall", "rock climbers": "climbers", "rock band": "band",
    "rock concert": "concert", "surf board": "surfboard", "skate board": "skateboard",
    "snow board": "snowboard", "cell phone": "cellphone", "cell phones": "cellphones",
    "motorized boat": "boat", "jet ski": "jetski", "jet skis": "jetski", "water ski": "waterski",
    "water skis": "waterskis", "water skiing": "waterskiing", "water skier": "waterskier",
    "wind surfer": "windsurfer", "wind surfing": "windsurfing", "wake board": "wakeboard",
    "in line": "inline", "sand castle": "sandcastle", "flower bed": "flowerbed",
    "paint ball": "paintball", "ball pit": "ballpit", "picnic table": "picnictable",
    "tennis shoes": "sneakers", "table cloth": "tablecloth", "bath tub": "bathtub",
    "bus station": "busstation", "horse race": "horserace", "dog race": "dograce",
    "cat walk": "catwalk", "bird bath": "birdbath", "race car": "racecar", "race cars": "racecars",
    "go cart": "gokart", "go kart": "gokart", "shopping cart": "shoppingcart", "t shirt": "tshirt",
    "t-shirt": "tshirt", "tee shirt": "tshirt", "tee-shirt": "tshirt", "t shirts": "tshirts",
    "water gun": "watergun", "water balloon": "waterballoon", "water fountain": "fountain",
    "tree trunk": "treetrunk", "tree branch": "treebranch", "christmas tree": "tree",
    "flower girl": "girl", "snow man": "snowman", "book store": "bookstore",
    "fishing boat": "boat", "bumper cars": "bumpercars", "bumper car": "bumpercars",
    "human pyramid": "pyramid", "soccer field": "soccerfield", "football field": "footballfield",
    "baseball field": "baseballfield", "snow ball": "snowball", "dog show": "dogshow",
    "dog leash": "leash", "life jacket": "lifejacket", "life jackets": "lifejackets",
    "life vest": "lifejacket", "life vests": "lifejackets",
}  # fmt: skip

# ── People and animals ──────────────────────────────────────────────────────────────────────────
MEN = "man men guy guys gentleman gentlemen father dad grandfather"
WOMEN = "woman women lady ladies mother mom grandmother"
BOYS = "boy boys"
GIRLS = "girl girls"
CHILDREN = "child children kid kids toddler toddlers baby babies infant youngster youngsters"
ROLES_ONE = (
    "person adult player skier snowboarder surfer skateboarder skater biker cyclist bicyclist "
    "rider climber swimmer runner dancer worker musician singer teenager teen male female "
    "gymnast performer artist motorcyclist hiker someone kayaker wrestler boxer golfer goalie "
    "pitcher batter catcher quarterback cheerleader clown cowboy soldier policeman officer "
    "firefighter fisherman painter photographer guitarist drummer student bride groom racer "
    "individual human diver jogger bmxer waterskier windsurfer wakeboarder acrobat athlete "
    "hockey-player referee chef cook rollerblader parasailer paraglider"
)
ROLES_MANY = (
    "people persons adults players skiers snowboarders surfers skateboarders skaters bikers "
    "cyclists bicyclists riders climbers swimmers runners dancers workers musicians singers "
    "teenagers teens males females gymnasts performers artists motorcyclists hikers kayakers "
    "wrestlers boxers soldiers policemen officers firefighters fishermen students friends racers "
    "individuals humans divers joggers couple family cheerleaders athletes spectators onlookers "
    "teammates goalies clowns cowboys"
)
PERSON_WORDS = frozenset(
    f"{MEN} {WOMEN} {BOYS} {GIRLS} {CHILDREN} {ROLES_ONE} {ROLES_MANY}".split()
)
AMBIGUOUS_PEOPLE = (
    f"{ROLES_ONE} {ROLES_MANY} group crowd team teams band bunch others everyone another other "
    "one two three four five several many parents audience brother sister son daughter siblings "
    "somebody he she his her him they their hand hands arm arms face leg legs"
)
PERSON_PARTS = "hand hands fingers rider's someone's man's woman's boy's girl's"

PLURAL_HEADS = frozenset(
    f"men guys gentlemen women ladies boys girls children kids toddlers babies youngsters "
    f"{ROLES_MANY} dogs puppies cats horses birds cows greyhounds animals sheep ducks".split()
)
ANIMALS: dict[str, str] = {
    **dict.fromkeys(
        "dog dogs puppy puppies dalmatian collie greyhound greyhounds poodle terrier retriever "
        "labrador husky beagle pug chihuahua bulldog corgi dachshund canine canines hound hounds "
        "doberman rottweiler schnauzer dalmatians mutt pooch".split(),
        "dog",
    ),
    **dict.fromkeys("cat cats kitten kittens".split(), "cat"),
    **dict.fromkeys("horse horses pony ponies bronco stallion horseback".split(), "horse"),
    **dict.fromkeys(
        "bird birds duck ducks goose geese seagull seagulls pigeon pigeons eagle hawk parrot swan "
        "swans crane pelican chicken rooster owl heron flamingo flamingos".split(),
        "bird",
    ),
    **dict.fromkeys("cow cows bull bulls cattle steer calf".split(), "cow"),
    **dict.fromkeys("sheep lamb lambs".split(), "sheep"),
    **dict.fromkeys("goat goats".split(), "goat"),
    **dict.fromkeys("monkey monkeys".split(), "monkey"),
    **dict.fromkeys("elephant elephants".split(), "elephant"),
    **dict.fromkeys("camel camels".split(), "camel"),
    **dict.fromkeys("donkey donkeys mule".split(), "donkey"),
    **dict.fromkeys("rabbit rabbits bunny".split(), "rabbit"),
    **dict.fromkeys("squirrel squirrels".split(), "squirrel"),
    **dict.fromkeys("pig pigs".split(), "pig"),
    **dict.fromkeys("butterfly butterflies".split(), "butterfly"),
    **dict.fromkeys("deer".split(), "deer"),
    **dict.fromkeys("turtle turtles".split(), "turtle"),
    **dict.fromkeys("dolphin dolphins".split(), "dolphin"),
    **dict.fromkeys("snake snakes".split(), "snake"),
}  # fmt: skip
OTHER_ANIMALS = "animal animals pet pets creature creatures wolf fox bear fish cub lion tiger"
# Subjects a rule can ask about: caption word -> the word of the question.
HEADS: dict[str, str] = {
    **{w: w for w in f"{MEN} {WOMEN} {BOYS} {GIRLS} {CHILDREN}".split()},
    **dict.fromkeys(ROLES_ONE.split(), "person"),
    **dict.fromkeys(ROLES_MANY.split(), "people"),
    **dict.fromkeys("guy gentleman father dad grandfather".split(), "man"),
    **dict.fromkeys("guys gentlemen".split(), "men"),
    **dict.fromkeys("lady mother mom grandmother".split(), "woman"),
    **dict.fromkeys(["ladies"], "women"),
    **dict.fromkeys("kid toddler youngster infant".split(), "child"),
    **dict.fromkeys("kids toddlers youngsters babies".split(), "children"),
    **{w: w for w in "dog dogs cat cats horse horses bird birds cow cows".split()},
    **dict.fromkeys("puppy greyhound terrier retriever poodle labrador collie".split(), "dog"),
    **dict.fromkeys("puppies greyhounds terriers retrievers".split(), "dogs"),
}
PERSON_HEADS = frozenset(HEADS) & PERSON_WORDS
GROUPS = frozenset("group crowd bunch couple team number lot pair".split())
AGES = frozenset("young little small old older elderly teenage".split())

# ── Things ──────────────────────────────────────────────────────────────────────────────────────
WATERS = (
    "water ocean sea lake river stream pond pool wave creek waterfall surf surfing surfer "
    "surfers swimming swimmer swims swim rapids puddle fountain kayak kayaking kayaker canoe "
    "waterski waterskiing waterskier underwater waters rafting sprinkler"
)
WATER_HINTS = (
    f"{WATERS} wet splash splashes splashing beach shore boat boats dock pier wakeboard diving "
    "dives raft bridge rain harbor canal paddling paddle bath bathtub wading surfboard surfs "
    "coast hose waves fishing coastline float floating wetsuit bottle waterbottle"
)
TREES = "tree trees forest woods wooded palm palms treebranch treetrunk"
OUTDOOR_GREEN = (
    "park yard backyard garden bushes bush branch branches leaves jungle trail path hill hillside "
    "mountain mountains outside outdoors field lawn grass grassy country countryside treehouse "
    "campsite camping swing playground log street road meadow"
)
GRASS_HINTS = (
    "field lawn grass grassy meadow yard backyard park golf soccer football garden pasture hill "
    "hillside baseball rugby cricket green soccerfield footballfield baseballfield frisbee "
    "outside outdoors farm plants weeds hay brush playground lacrosse"
)


def _thing(name: str, said: str, maybe: str = "", least: int = 1) -> Thing:
    """`said` and `maybe` as words; the plural and the bare name need not be repeated."""
    return Thing(name, frozenset(said.split()), frozenset(maybe.split()), least)


def _animal(name: str) -> Thing:
    words = " ".join(w for w, kind in ANIMALS.items() if kind == name)
    return _thing(f"a {name}", words, OTHER_ANIMALS, least=2)


THINGS: tuple[Thing, ...] = (
    *(_animal(name) for name in "dog cat horse bird cow".split()),
    _thing("an animal", " ".join(ANIMALS) + " animal animals", OTHER_ANIMALS, 2),
    _thing("a person", " ".join([*PERSON_WORDS, PERSON_PARTS]), AMBIGUOUS_PEOPLE),
    _thing("a man", MEN, AMBIGUOUS_PEOPLE, 2),
    _thing("a woman", WOMEN, AMBIGUOUS_PEOPLE, 2),
    _thing("a boy", BOYS, f"{AMBIGUOUS_PEOPLE} {CHILDREN}", 2),
    _thing("a girl", GIRLS, f"{AMBIGUOUS_PEOPLE} {CHILDREN}", 2),
    _thing("a child", f"{CHILDREN} {BOYS} {GIRLS}", AMBIGUOUS_PEOPLE, 2),
    _thing("a baby", "baby babies infant", f"{CHILDREN} people family"),
    _thing("a crowd", "crowd crowds crowded spectators audience", "people group team many stadium "
           "onlookers game race match parade players"),
    _thing("a car", "car cars racecar racecars suv sedan taxi jeep", "vehicle vehicles truck van "
           "street road traffic parking driving drives racing toycar bumpercars gokart parked"),
    _thing("a truck", "truck trucks firetruck pickup", "vehicle vehicles van car cars traffic "
           "toycar street parking"),
    _thing("a bus", "bus buses", "vehicle vehicles street traffic busstop busstation"),
    _thing("a train", "train trains subway", "trainstation traintracks station rail platform"),
    _thing("a bicycle", "bicycle bicycles bicyclist bicyclists bmx cyclist cyclists bmxer "
           "bike bikes", "biker bikers motorcycle motorcycles motorbike bicycling biking rider "
           "cycling motocross wheel"),
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
    _thing("an airplane", "airplane airplanes plane planes jet", "aircraft airport helicopter"),
    _thing("a ball", "ball balls football soccer basketball baseball volleyball tennis beachball "
           "softball basketballs", "game playing player players toy object fetch catch sport team "
           "bat rugby lacrosse golf bowling pitcher batter kick juggling snowball ballpit cricket"),
    _thing("a frisbee", "frisbee frisbees frisbe", "disc disk toy object catch catches"),
    _thing("a guitar", "guitar guitars guitarist", "instrument instruments band music musician "
           "musicians bass banjo concert rock stage singer"),
    _thing("snow", "snow snowy snowboard snowboarder snowboarding skiing skier skiers sled snowman "
           "snowball snowboarders", "ski skis winter ice icy white cold mountain mountains slope "
           "mountaintop glacier powder hill sledding snowsuit"),
    _thing("ice", "ice icy skating", "snow snowy hockey winter glacier rink frozen skates"),
    _thing("water", WATERS, WATER_HINTS),
    _thing("a beach", "beach beaches seashore seaside", "sand sandy shore ocean sea coast water "
           "waves surf shoreline lake bay surfer volleyball island waterfront surfboard"),
    _thing("the ocean", "ocean sea", "water beach waves wave surf surfer lake shore surfing coast "
           "bay boat shoreline surfs surfboard sand"),
    _thing("a river", "river stream creek rapids", "water lake pond canal rafting kayak canoe "
           "shore bridge boat waterfall raft waterway bank kayaker"),
    _thing("a pool", "pool pools", "water swimming swim swimmer swims diving slide splash"),
    _thing("a wave", "wave surfing surfer surfers surfs", "waves ocean sea surf surfboard water "
           "beach waving"),
    _thing("grass", "grass grassy lawn meadow", GRASS_HINTS, 1),
    _thing("sand", "sand sandy beach sandbox sandcastle dune dunes", "desert dirt shore volleyball "
           "ocean surf waves sea coast"),
    _thing("a mountain", "mountain mountains mountainside mountaintop", "hill hills cliff rock "
           "peak climbing climber snow hillside slope rocks view landscape hike hiking skiing "
           "skier rocky canyon snowboarder snowboard ski hiker valley rockclimbing"),
    _thing("a tree", TREES, f"{TREES} {OUTDOOR_GREEN}"),
    _thing("a forest", "forest woods wooded jungle", f"{TREES} {OUTDOOR_GREEN}"),
    _thing("a flower", "flower flowers rose roses tulips sunflower daisies flowerbed",
           "garden plant plants bouquet bride wedding field blossoms"),
    _thing("a street", "street streets road sidewalk", "city traffic crosswalk alley corner urban "
           "path downtown car cars building pavement highway parade outside intersection market "
           "bike bicycle skateboard protest"),
    _thing("a field", "field fields meadow soccerfield footballfield baseballfield", GRASS_HINTS),
    _thing("a rock", "rock rocks rocky boulder boulders cliff rockwall rockclimbing", "stone "
           "stones mountain mountains climbing climber shore river canyon ledge hill waterfall "
           "stream beach climbs trail formation hiking"),
    _thing("a building", "building buildings skyscraper skyscrapers church", "house city street "
           "store window wall urban brick town shop downtown home restaurant sidewalk doorway "
           "balcony roof hotel school station outside yard door hut barn market tower busstop"),
    _thing("a house", "house houses", "building buildings home yard backyard porch street "
           "neighborhood lawn roof hut outside"),
    _thing("a fire", "fire campfire bonfire flames fires", "flame smoke torch camping grill "
           "fireworks candle candles barbecue"),
    _thing("a bench", "bench benches", "seat sitting sits sit seated park table"),
    _thing("a chair", "chair chairs", "seat sitting sits sit table couch bench wheelchair seated "
           "desk restaurant room lounge stool"),
    _thing("a table", "table tables desk picnictable", "eating restaurant food sitting kitchen "
           "dinner room sits counter billiards cafe bar drinking cake party"),
    _thing("a bed", "bed beds mattress", "bedroom sleeping blanket pillow couch sleeps laying"),
    _thing("a couch", "couch sofa", "chair armchair room bed sitting furniture indoors pillows"),
    _thing("an umbrella", "umbrella umbrellas parasol", "rain rainy tent shade"),
    _thing("a bottle", "bottle bottles waterbottle waterbottles", "drink drinking drinks beer "
           "beverage water wine bar alcohol soda"),
    _thing("a cup", "cup cups mug mugs", "drink drinking drinks coffee beverage glass beer tea "
           "soda table bowl"),
    _thing("a book", "book books", "reading reads newspaper magazine library paper bookstore"),
    _thing("a phone", "phone phones cellphone cellphones telephone", "talking cell device"),
    _thing("a camera", "cameras photographer camcorder", "camera picture pictures photo photos "
           "photograph photographing photographers filming video"),
    _thing("a balloon", "balloon balloons", "waterballoon party inflatable parade"),
    _thing("a flag", "flag flags", "banner parade banners kite ribbon"),
    _thing("a swing", "swing swingset swings", "playground rope swinging tire"),
    _thing("a toy", "toy toys teddy plush doll dolls toycar toyhorse frisbee lego legos",
           "ball stuffed object mouth plastic game playing disc rope bubbles inflatable"),
    _thing("a stick", "stick sticks", "branch pole bat log wood wand object lacrosse hockey "
           "something poles cane"),
    _thing("a rope", "rope ropes", "harness climbing leash tug string climber swing cord line"),
    _thing("a tent", "tent tents", "camping camp canopy market campsite"),
    _thing("a bridge", "bridge bridges", "dock pier walkway river ledge overpass"),
    _thing("food", "food pizza sandwich cake icecream hotdog hotdogs fruit meal meat apple "
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
    _thing("a slide", "slide", "playground slides sliding pool"),
    _thing("a bag", "bag bags backpack backpacks purse", "luggage suitcase carrying hiking hiker "
           "shopping sack pack hikers"),
)  # fmt: skip

# ── Colours, numbers ────────────────────────────────────────────────────────────────────────────
COLOURS: dict[str, str] = {
    **{c: c for c in "red blue green yellow orange purple pink black white brown tan gray".split()},
    "grey": "gray", "golden": "golden", "beige": "tan", "blond": "blond", "blonde": "blond",
    "maroon": "red", "turquoise": "blue", "silver": "silver",
}  # fmt: skip
# Colours that two people may well use for the same thing.
COLOUR_KIN = (frozenset({"brown", "tan", "golden", "blond"}), frozenset({"gray", "silver"}))
SHADES = frozenset("light dark bright deep pale".split())
# Caption word -> (what is asked, plural?).
COLOURED: dict[str, str] = {
    **{w: w for w in (
        "dog cat horse bird shirt jacket dress hat helmet ball car truck bus bicycle motorcycle "
        "shorts pants sweater collar flower boat kayak canoe cup bottle umbrella couch suit "
        "uniform frisbee toy bag backpack slide vest scarf swimsuit snowboard surfboard raft "
        "balloon bench wall building house flag rope chair outfit hair skirt sweatshirt cap "
        "wetsuit bikini costume train tube jersey harness car cow van jumpsuit tie hoodie "
        "blanket tent lifejacket object skateboard"
    ).split()},
    **{f"{w}s": f"{w}s" for w in (
        "dog horse bird shirt jacket dresse hat helmet ball car flower boat cup bottle umbrella "
        "uniform balloon chair flag kayak"
    ).split()},
    "tshirt": "shirt", "tshirts": "shirts", "bike": "bicycle", "coat": "jacket",
    "puppy": "dog", "puppies": "dogs", "trousers": "pants", "rose": "flower", "roses": "flowers",
}  # fmt: skip
PLURAL_WEAR = frozenset({"shorts", "pants"})
NUMBERS: dict[str, str] = {
    "two": "two", "three": "three", "four": "four", "five": "five", "six": "six",
    "2": "two", "3": "three", "4": "four", "5": "five",
}  # fmt: skip
COUNTED = frozenset(
    "dogs men women people boys girls children horses cats birds cars cows boats".split()
)

# ── Places, games ───────────────────────────────────────────────────────────────────────────────
PLACES = frozenset(
    "beach water snow grass field street park pool ocean river lake woods forest sidewalk road "
    "mountain hill room kitchen couch bed bench city gym stadium track playground yard skatepark "
    "stage court desert sea stream pond sand path trail lawn backyard house building boat bridge "
    "car bar restaurant store market garden ramp rock rocks wall cliff chair floor ground dirt mud "
    "meadow hillside mountains shore creek dock pier train bus station porch steps stairs table "
    "fence tree trees swing slide trampoline wave waves air rink arena ice puddle fountain "
    "surf tunnel alley crosswalk ledge horse motorcycle bicycle bike rail railing log office "
    "waterfall canoe kayak raft soccerfield footballfield baseballfield parking-lot lot carpet "
    "mountaintop platform crowd rapids sandbox bathtub tub sofa tent deck roof canyon "
    "sky countryside hallway doorway window corner pavement concrete skateboard".split()
)
GAMES = frozenset(
    "soccer football basketball baseball tennis volleyball hockey rugby lacrosse golf frisbee "
    "cricket softball badminton guitar guitars drums chess cards accordion saxophone trumpet "
    "violin piano fetch paintball polo kickball croquet billiards cello".split()
)

# ── Verbs ───────────────────────────────────────────────────────────────────────────────────────
_DOUBLED = frozenset(
    "run swim sit dig hug pet skip shop hit cut bat spin flip clap get put drag sled drop tug trot "
    "chat grab hop jog nap slip step stop trip wag beg swat sip set zip cup bob mop".split()
)
_VERBS = (
    "run walk jump play stand sit hold ride climb swim look watch throw catch kick carry chase eat "
    "drink read push pull lie lay lean swing slide ski surf skate skateboard snowboard dance sing "
    "talk smile laugh pose fly leap dive splash dig chew bite lick sleep rest wait fight wrestle "
    "race wade kneel crouch bend reach wave point paint cook cut blow fish paddle row sail float "
    "hike bike cycle drive perform balance spin flip roll crawl hang pick wash clean shake shop "
    "cross travel tackle dribble shoot hit bowl bat pitch sled drag fetch retrieve return follow "
    "lead hug kiss touch pet feed try attempt go get come move take make do practice prepare enjoy "
    "gather march protest cheer clap celebrate speak listen write draw work build sweep stretch "
    "exercise relax lounge sunbathe smoke call wear have put give show face sniff stare gaze peek "
    "peer bark growl snarl yawn raise lift drop fall land turn stick trot gallop herd tug grab hop "
    "jog nap squat scream yell cry juggle grind wakeboard kayak bounce splash skip stroll ice "
    "emerge rappel perch pass toss squirt spray tow dress cuddle examine inspect "
    "frolic wander rollerblade parasail repair fix cover cast use approach attack lunge speed "
    "charge circle descend ascend scale navigate explore share serve sell buy display "
    "swat chat sip set rub adjust tie"
).split()
_IRREGULAR_ING = {"lie": "lying", "ski": "skiing", "tie": "tying", "frolic": "frolicking"}


def _ing(verb: str) -> str:
    if verb in _IRREGULAR_ING:
        return _IRREGULAR_ING[verb]
    if verb in _DOUBLED or verb == "rub":
        return verb + verb[-1] + "ing"
    if verb.endswith("e"):
        return verb[:-1] + "ing"
    return verb + "ing"


def _third(verb: str) -> str:
    if verb == "have":
        return "has"
    if verb.endswith(("s", "sh", "ch", "x", "o", "z")):
        return verb + "es"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "s"


ING: frozenset[str] = frozenset(_ing(v) for v in _VERBS)
THIRD: dict[str, str] = {_third(v): _ing(v) for v in _VERBS}
BASE: dict[str, str] = {v: _ing(v) for v in _VERBS}
# Not what someone is *doing*.
STATIVE = frozenset("wearing having dressing covering facing showing".split())
# Verb -> the prepositions with which "what is … V-ing P?" makes sense ("" is none).
OBJECT_VERBS: dict[str, frozenset[str]] = {
    verb: frozenset(preps.split("|"))
    for verb, preps in {
        "holding": "", "wearing": "", "riding": "|on", "playing": "with", "carrying": "",
        "standing": "on|in front of|next to|under", "sitting": "on|in|next to", "climbing": "|up",
        "jumping": "over|on|into|off", "leaping": "over|into", "throwing": "", "catching": "",
        "kicking": "", "eating": "", "drinking": "|from", "reading": "", "pushing": "",
        "pulling": "", "lying": "on", "laying": "on", "walking": "on|through|along|down",
        "running": "on|through|along", "looking": "at|through", "leaning": "on|against",
        "swinging": "on", "sliding": "down", "chewing": "|on", "hitting": "", "chasing": "",
        "biting": "", "paddling": "", "driving": "", "bouncing": "|on", "swimming": "in",
        "digging": "in", "crossing": "", "surfing": "|on", "watching": "", "blowing": "",
        "painting": "", "hugging": "", "tossing": "", "hanging": "on|from", "fetching": "",
        "petting": "", "hiking": "up", "skiing": "down", "balancing": "on",
    }.items()
}  # fmt: skip

# ── Function words, where a noun phrase must end ────────────────────────────────────────────────
DETERMINERS = frozenset("a an the his her their its some another one".split()) | frozenset(NUMBERS)
PREPOSITIONS = frozenset(
    "in on at of with by near over under through into onto from to for across along behind beside "
    "between around against down up off out above below towards toward inside outside after before "
    "during past upon atop underneath beneath next amongst among without about like "
    "alongside".split()
)
FUNCTION = (
    PREPOSITIONS
    | frozenset("a an the his her their its some another".split())
    | frozenset(
        "and or but while as whilst when that who which where is are was were be being been has "
        "have had there it he she they him them this these those so then than because if not very "
        "together nearby outdoors indoors away back ahead both each also just , . ; : ! ? \" ' ( ) "
        "'s & - -- surrounded covered dressed held thrown made filled attached overlooking".split()
    )
)
# -ing words that describe rather than act.
ADJECTIVE_ING = frozenset(
    "bathing swimming parking riding running climbing fishing shopping sleeping walking racing "
    "skiing boxing smiling hiking".split()
)
ING_NOUNS = frozenset(
    "suit suits pool pools lot gear equipment trunks cap area rod pole pants shoes shorts cart bag "
    "bags outfit wall track jacket costume bike boots stick sticks trail mall center boat hole "
    "uniform cream".split()
)
