"""Words that the caption rules know: things with their synonyms, people, colours, places, verbs.

Lists, no code worth the name: a word is added here, a rule in `captions.py`. All is lower case.
"""

# ruff: noqa: SIM905 - words in a row are easier to read and add to than a list of strings
from __future__ import annotations

# Two words that mean something else than each does alone.
COMPOUNDS: dict[str, str] = {
    "hot dog": "hot_dog", "hot dogs": "hot_dogs", "pool table": "billiards",
    "dirt bike": "motorcycle", "dirt bikes": "motorcycles", "motor bike": "motorcycle",
    "dirt biker": "motorcyclist", "motor cycle": "motorcycle", "motocross bike": "motorcycle",
    "dirt biking": "motorcycling", "teddy bear": "teddy", "stuffed animal": "stuffed_animal",
    "stuffed animals": "stuffed_animals", "stuffed bear": "stuffed_bear",
    "stuffed dog": "stuffed_dog", "toy dog": "toy_dog", "toy car": "toy_car",
    "toy truck": "toy_truck", "toy horse": "toy_horse", "stick horse": "stick_horse",
    "rocking horse": "rocking_horse", "plastic horse": "plastic_horse",
    "carousel horse": "carousel_horse", "monkey bars": "monkey_bars", "monkey bar": "monkey_bars",
    "ice cream": "ice_cream", "water bottle": "water_bottle", "water bottles": "water_bottles",
    "bus stop": "bus_stop", "train station": "train_station", "train tracks": "train_tracks",
    "train track": "train_track", "tree house": "tree_house", "baseball cap": "cap",
    "baseball hat": "hat", "cowboy hat": "hat", "ball cap": "cap", "ball gown": "gown",
    "beach ball": "beach_ball", "fire hydrant": "hydrant", "fire truck": "fire_truck",
    "fire engine": "fire_truck", "fire escape": "fire_escape", "fire works": "fireworks",
    "snow cone": "snow_cone", "street sign": "street_sign", "street lamp": "street_lamp",
    "car seat": "car_seat", "sea lion": "sea_lion", "field hockey": "hockey", "pick up": "pickup",
    "rock climbing": "rock_climbing", "rock climber": "climber", "rock wall": "rock_wall",
    "rock climbers": "climbers", "rock band": "band", "rock concert": "rock_concert",
    "surf board": "surfboard", "skate board": "skateboard", "snow board": "snowboard",
    "cell phone": "cellphone", "cell phones": "cellphones", "motorized boat": "boat",
    "jet ski": "jetski", "jet skis": "jetski", "water ski": "water_ski",
    "water skis": "water_skis", "water skiing": "water_skiing", "water skier": "water_skier",
    "wind surfer": "windsurfer", "wind surfing": "windsurfing", "wake board": "wakeboard",
    "in line": "inline", "sand castle": "sandcastle", "flower bed": "flower_bed",
    "paint ball": "paintball", "ball pit": "ball_pit", "picnic table": "picnic_table",
    "tennis shoes": "tennis_shoes", "table cloth": "tablecloth", "bath tub": "bathtub",
    "bus station": "bus_station", "horse race": "horse_race", "dog race": "dog_race",
    "cat walk": "catwalk", "bird bath": "birdbath", "race car": "race_car",
    "race cars": "race_cars", "go cart": "go_cart", "go kart": "go_kart",
    "shopping cart": "shopping_cart", "t shirt": "t-shirt", "tee shirt": "t-shirt",
    "t shirts": "t-shirts", "water gun": "water_gun", "water balloon": "water_balloon",
    "water fountain": "fountain", "tree trunk": "tree_trunk", "tree branch": "tree_branch",
    "christmas tree": "tree", "flower girl": "girl", "snow man": "snowman",
    "book store": "bookstore", "fishing boat": "boat", "bumper cars": "bumper_cars",
    "bumper car": "bumper_car", "human pyramid": "pyramid", "soccer field": "soccer_field",
    "football field": "football_field", "baseball field": "baseball_field",
    "snow ball": "snowball", "dog show": "dog_show", "dog leash": "leash",
    "life jacket": "life_jacket", "life jackets": "life_jackets", "life vest": "life_vest",
    "life vests": "life_vests", "fire fighter": "firefighter", "fire fighters": "firefighters",
    "police officer": "officer", "police officers": "officers", "face paint": "face_paint",
    "horse back": "horseback", "swing set": "swing_set", "swim suit": "swimsuit",
    "surf boards": "surfboards", "water park": "water_park", "skate park": "skate_park",
    "race track": "race_track", "parking lot": "parking_lot", "hot tub": "hot_tub",
    "bull dog": "bulldog", "dog sled": "dog_sled", "dog sledding": "dog_sledding",
    "sled dogs": "dogs", "ice skating": "ice_skating", "ice rink": "ice_rink",
    "ice cube": "ice_cube", "ice hockey": "hockey",
    "see saw": "see_saw", "fish tank": "fish_tank",
    "guinea pig": "guinea_pig", "rubber duck": "rubber_duck", "duck pond": "duck_pond",
    "batting cage": "batting_cage", "snow suit": "snow_suit", "snow pants": "snow_pants",
    "rain coat": "raincoat",
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
    "individual human diver jogger bmxer water_skier windsurfer wakeboarder acrobat athlete "
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
        "swans pelican chicken rooster owl heron flamingo flamingos".split(),
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
# Where one of these is said, an animal may not be alive.
NOT_ALIVE = (
    "statue statues sculpture stuffed costume costumes mask painting painted fake toy toys drawing "
    "inflatable carousel cartoon mascot ride"
)
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
    "t-shirt": "shirt", "t-shirts": "shirts", "tshirt": "shirt", "tee-shirt": "shirt",
    "bike": "bicycle", "coat": "jacket",
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
    "mountain hill room kitchen couch bed bench city gym stadium track playground yard "
    "skatepark skate_park stage court desert sea stream pond sand path trail lawn backyard "
    "house building boat bridge car bar restaurant store market garden ramp rock rocks wall "
    "cliff chair floor ground dirt mud meadow hillside mountains shore creek dock pier train "
    "bus station porch steps stairs table fence tree trees swing slide trampoline wave waves "
    "air rink arena ice puddle fountain surf tunnel alley crosswalk ledge horse motorcycle "
    "bicycle bike rail railing log office waterfall canoe kayak raft soccer_field "
    "football_field baseball_field parking_lot lot carpet mountaintop platform crowd rapids "
    "sandbox bathtub tub sofa tent deck roof canyon sky countryside hallway doorway window "
    "corner pavement concrete skateboard".split()
)
GAMES = frozenset(
    "soccer football basketball baseball tennis volleyball hockey rugby lacrosse golf frisbee "
    "cricket softball badminton guitar guitars drums chess cards accordion saxophone trumpet "
    "violin piano fetch paintball polo kickball croquet billiards cello".split()
)
INSTRUMENTS = frozenset(
    "guitar guitars drums accordion saxophone trumpet violin piano cello".split()
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
    "gather march protest cheer clap celebrate speak listen write draw work sweep stretch "
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
INFINITIVE: dict[str, str] = {_ing(v): v for v in _VERBS}
# Verbs that end the noun phrase before them ("a boy in a red shirt | jumps"): the -s forms that
# are not plurals as often, and plain forms that are hardly ever nouns.
FINITE = (
    THIRD.keys() - set("skis skates bikes waves drinks slides swings flips shows".split())
) | set(
    "run go stand sit jump look play watch hold climb swim throw catch kick carry chase eat "
    "read push pull lie lean leap laugh pose smile perform wait get come take make".split()
)
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
