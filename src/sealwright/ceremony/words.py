"""Digests as words that can be read aloud: the PGP word list (Juola and Zimmermann, 1995).

Octets at even places have a two-syllable word and octets at odd places a three-syllable word, so that a word that
was dropped, doubled or swapped is heard. What is done with the words is the business of ``actions``.
"""

_EVEN = """
aardvark absurd accrue acme adrift adult afflict ahead aimless Algol allow alone ammo ancient apple artist
assume Athens atlas Aztec baboon backfield backward banjo beaming bedlamp beehive beeswax befriend Belfast berserk
billiard bison blackjack blockade blowtorch bluebird bombast bookshelf brackish breadline breakup brickyard
briefcase Burbank button buzzard cement chairlift chatter checkup chisel choking chopper Christmas clamshell
classic classroom cleanup clockwork cobra commence concert cowbell crackdown cranky crowfoot crucial crumpled
crusade cubic dashboard deadbolt deckhand dogsled dragnet drainage dreadful drifter dropper drumbeat drunken
Dupont dwelling eating edict egghead eightball endorse endow enlist erase escape exceed eyeglass eyetooth facial
fallout flagpole flatfoot flytrap fracture framework freedom frighten gazelle Geiger glitter glucose goggles
goldfish gremlin guidance hamlet highchair hockey indoors indulge inverse involve island jawbone keyboard kickoff
kiwi klaxon locale lockup merit minnow miser Mohawk mural music necklace Neptune newborn nightbird Oakland obtuse
offload optic orca payday peachy pheasant physique playhouse Pluto preclude prefer preshrunk printer prowler pupil
puppy python quadrant quiver quota ragtime ratchet rebirth reform regain reindeer rematch repay retouch revenge
reward rhythm ribcage ringbolt robust rocker ruffled sailboat sawdust scallion scenic scorecard Scotland seabird
select sentence shadow shamrock showgirl skullcap skydive slingshot slowdown snapline snapshot snowcap snowslide
solo southward soybean spaniel spearhead spellbind spheroid spigot spindle spyglass stagehand stagnate stairway
standard stapler steamship sterling stockman stopwatch stormy sugar surmount suspense sweatband swelter tactics
talon tapeworm tempest tiger tissue tonic topmost tracker transit trauma treadmill Trojan trouble tumor tunnel
tycoon uncut unearth unwind uproot upset upshot vapor village virus Vulcan waffle wallet watchword wayside willow
woodlark Zulu
"""

_ODD = """
adroitness adviser aftermath aggregate alkali almighty amulet amusement antenna applicant Apollo armistice article
asteroid Atlantic atmosphere autopsy Babylon backwater barbecue belowground bifocals bodyguard bookseller
borderline bottomless Bradbury bravado Brazilian breakaway Burlington businessman butterfat Camelot candidate
cannonball Capricorn caravan caretaker celebrate cellulose certify chambermaid Cherokee Chicago clergyman coherence
combustion commando company component concurrent confidence conformist congregate consensus consulting corporate
corrosion councilman crossover crucifix cumbersome customer Dakota decadence December decimal designing detector
detergent determine dictator dinosaur direction disable disbelief disruptive distortion document embezzle
enchanting enrollment enterprise equation equipment escapade Eskimo everyday examine existence exodus fascinate
filament finicky forever fortitude frequency gadgetry Galveston getaway glossary gossamer graduate gravity
guitarist hamburger Hamilton handiwork hazardous headwaters hemisphere hesitate hideaway holiness hurricane
hydraulic impartial impetus inception indigo inertia infancy inferno informant insincere insurgent integrate
intention inventive Istanbul Jamaica Jupiter leprosy letterhead liberty maritime matchmaker maverick Medusa megaton
microscope microwave midsummer millionaire miracle misnomer molasses molecule Montana monument mosquito narrative
nebula newsletter Norwegian October Ohio onlooker opulent Orlando outfielder Pacific pandemic Pandora paperweight
paragon paragraph paramount passenger pedigree Pegasus penetrate perceptive performance pharmacy phonetic
photograph pioneer pocketful politeness positive potato processor provincial proximate puberty publisher pyramid
quantity racketeer rebellion recipe recover repellent replica reproduce resistor responsive retraction retrieval
retrospect revenue revival revolver sandalwood sardonic Saturday savagery scavenger sensation sociable souvenir
specialist speculate stethoscope stupendous supportive surrender suspicious sympathy tambourine telephone
therapist tobacco tolerance tomorrow torpedo tradition travesty trombonist truncated typewriter ultimate undaunted
underfoot unicorn unify universe unravel upcoming vacancy vagabond vertigo Virginia visitor vocalist voyager
warranty Waterloo whimsical Wichita Wilmington Wyoming yesteryear Yucatan
"""

EVEN, ODD = tuple(_EVEN.split()), tuple(_ODD.split())


def spell(data: bytes) -> tuple[str, ...]:
    """One word per octet."""
    return tuple((ODD if place % 2 else EVEN)[octet] for place, octet in enumerate(data))


def spell_hex(digest: str) -> tuple[str, ...]:
    """The words of a digest that is written in hex."""
    return spell(bytes.fromhex(digest))


def spell_rows(digest: str) -> str:
    """Numbered rows of four octets and their four words: to read aloud, to find again, and 80 columns hold each."""
    words = spell_hex(digest)
    return "\n".join(
        f"  {row + 1}  {digest[8 * row : 8 * row + 8]}  {'  '.join(words[4 * row : 4 * row + 4])}"
        for row in range((len(words) + 3) // 4)
    )


def ends(digest: str, *, each: int) -> str:
    """The first and last ``each`` words of a digest in hex: what a person types back."""
    words = spell_hex(digest)
    return " ".join((*words[:each], *words[-each:]))


def same_words(typed: str, wanted: str) -> bool:
    """Whether what was typed is what was wanted. Case and spacing are not what is being tested."""
    return typed.casefold().split() == wanted.casefold().split()
