"""Short forms of words, initials, capitals, and what stands between words."""

import re

from orpheus.text.normalization.patterns import after, before, one_of

_ABBREVIATIONS = {
    **{"Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Prof": "Professor", "Rev": "Reverend", "Hon": "Honorable"},
    **{"Gen": "General", "Col": "Colonel", "Capt": "Captain", "Lt": "Lieutenant", "Sgt": "Sergeant", "Gov": "Governor"},
    **{"Sen": "Senator", "Rep": "Representative", "Mt": "Mount", "Jr": "Junior", "Sr": "Senior", "Ave": "Avenue"},
    **{"Blvd": "Boulevard", "Rd": "Road", "Inc": "Incorporated", "Ltd": "Limited", "Corp": "Corporation"},
    **{"Dept": "Department", "approx": "approximately", "vs": "versus", "etc": "et cetera", "dept": "department"},
    **{
        "e.g": "for example",
        "i.e": "that is",
        "Dr": "Doctor",
        "St": "Saint",
        "est": "established",
        "Est": "Established",
    },
    **{"Maj": "Major", "Cmdr": "Commander", "Cdr": "Commander", "Adm": "Admiral", "Cpl": "Corporal", "Pvt": "Private"},
    **{"Pres": "President", "Supt": "Superintendent", "Messrs": "Messieurs", "Mme": "Madame", "Mlle": "Mademoiselle"},
    **{"Esq": "Esquire", "Bros": "Brothers", "Co": "Company", "Univ": "University", "Assn": "Association"},
    **{"Hwy": "Highway", "Pkwy": "Parkway", "Expy": "Expressway", "Sgts": "Sergeants", "govt": "government"},
    **{
        "Govt": "Government",
        "viz": "namely",
        "cf": "compare",
        "Mts": "Mountains",
        "assoc": "associate",
        "misc": "miscellaneous",
    },
    **{"Drs": "Doctors", "Profs": "Professors", "Sens": "Senators", "Reps": "Representatives", "Lts": "Lieutenants"},
    **{"Ph.D": "P H D", "Assoc": "Associate", "Asst": "Assistant", "asst": "assistant", "dr": "doctor", "mr": "mister"},
    **{"mrs": "missus", "prof": "professor"},
}
_STREETS = {"St": "Street", "Dr": "Drive"}  # after a name; before one they are a saint and a doctor
_BEFORE_NUMBER = {"No": "number", "no": "number", "Nos": "numbers", "nos": "numbers", "p": "page", "pp": "pages"}
_BEFORE_NUMBER |= {
    "Vol": "volume",
    "vol": "volume",
    "Vols": "volumes",
    "vols": "volumes",
    "Fig": "figure",
    "fig": "figure",
}
_BEFORE_NUMBER |= {
    "Figs": "figures",
    "figs": "figures",
    "Ch": "chapter",
    "ch": "chapter",
    "Sec": "section",
    "Art": "article",
}
_BEFORE_NUMBER |= {"Eq": "equation", "eq": "equation", "Tel": "telephone", "tel": "telephone", "Ext": "extension"}
_BEFORE_NUMBER |= {
    "ext": "extension",
    "Apt": "apartment",
    "apt": "apartment",
    "Ste": "suite",
    "Pt": "part",
    "Bldg": "building",
}
_ENDING = ("etc", "Jr", "Sr", "Inc", "Ltd", "Corp", "Ave", "Blvd", "Rd", "Bros", "Hwy", "Pkwy", "Expy", "Esq", "Ph.D")

# Capitals: read as a word, read letter by letter, or short words that someone shouts.
_ACRONYMS = set(
    "NASA NATO UNESCO UNICEF OPEC COVID AIDS NAFTA FIFA PIN RAM SIM LASER SWAT SCUBA RADAR JPEG ASAP".split()
)
_INITIALISMS = set(
    "AI API ATM CEO CPU DIY DNA EU FAQ GPU HIV IBM ID IEEE IOU IP IQ ISBN MIT UFO UK UN URL USA USB VIP".split()
)
_SHORT_WORDS = set(
    "AM AN AND ANY ARE AS AT BAD BE BIG BUT BY CAN DAY DID DO END FOR GET GO GOD GOT HAD HAS HE HER HEY HI HIM HIS HOT HOW I IF "
    "IN IS IT LET LOT ME MY NEW NO NOT NOW OF OFF OH OLD ON ONE OR OUR OUT OWN RED RUN SAD SAY SEE SHE SO SUN THE TO TOO TWO UP "
    "US USE WAR WAS WAY WE WHO WHY WIN WON WOW YES YET YOU ALL AGO ASK ATE ACT ADD AIR ALSO".split()
)


def _abbreviation(match):
    """Spells it out; keeps the full stop if it also ends the sentence."""
    word, preceding, following = match[1], before(match), after(match)
    last, capital_next = not following.strip(), re.match(r"\s+[\"'(]?[A-Z]", following)
    behind_name = re.search(r"\b(?:[A-Z][a-z]+('s)?|\d+(?:st|nd|rd|th))\s+$", preceding)
    if word in _STREETS and behind_name and not (behind_name[1] and capital_next):
        return _STREETS[word] + ("." if last or capital_next else "")
    ends = last or (word in _ENDING and capital_next)
    return _ABBREVIATIONS[word] + ("." if ends else "")


def _initials(match):
    """ "U.S." -> "U S"."""
    return " ".join(match[0].replace(".", "")) + ("." if not after(match).strip() else "")


def _capitals(match):
    """Reads initialisms letter by letter, other words in capitals as ordinary words."""
    word, plural = match.groups()
    if word == "OK":
        return "okay"
    short = False
    if len(word) <= 3 and word not in _SHORT_WORDS:
        short = not (re.search(r"[A-Z]{4,}\W+$", before(match)) or re.match(r"\W+[A-Z]{4,}\b", after(match)))
    country = word == "US" and re.search(r"\b[Tt]he $", before(match))
    if country or word in _INITIALISMS or not re.search("[AEIOUY]", word) or (short and word not in _ACRONYMS):
        return " ".join(word) + ("'s" if plural else "")
    return (word.capitalize() if word in _ACRONYMS else word.lower()) + (plural or "")


BEFORE_NUMBERS = [
    (rf"\b({one_of(_BEFORE_NUMBER)})\. ?(?=\d)", lambda match: f"{_BEFORE_NUMBER[match[1]]} "),
    (r"\b([Vv]ols?) (?=\d)", lambda match: f"{_BEFORE_NUMBER[match[1]]} "),
    (r"(?<=[a-z] )No (?=\d)", lambda match: "number "),
    (r"\b[vV]\. ?(?=\d{1,4} ?[-–])", lambda match: "version "),
    (r"(?<=[A-Za-z])\.(?=\d)", lambda match: ". "),  # a full stop, not a point
    (r"~ ?(?=[$€£]?[\d.])", lambda match: "about "),
    (r"§§? ?(?=\d)", lambda match: "section "),
    (r"№ ?(?=\d)", lambda match: "number "),
]
ABBREVIATIONS = [
    (r"\bFt\. (?=[A-Z])", lambda match: "Fort "),
    (rf"(?<![\w.])({one_of(_ABBREVIATIONS)})\.(?!\w)", _abbreviation),
    # without their full stop, as the British write them
    (r"\b(Mr|Mrs|Ms|Dr|Prof|Mme|Mlle|mr|mrs|dr|prof) (?=[A-Z][a-z])", lambda match: f"{_ABBREVIATIONS[match[1]]} "),
    (r"(?<=\w )vs(?!\w)", lambda match: "versus"),
    (r"(?<=[A-Za-z])(,? )(Jr|Sr|jr|sr)(?![\w.])", lambda match: match[1] + _ABBREVIATIONS[match[2].capitalize()]),
    (r"(?<=[A-Za-z] )([Ll]td|[Bb]ros)(?![\w.])", lambda match: _ABBREVIATIONS[match[1].capitalize()]),
    (r"\b(?:St|st) (?=[A-Z][a-z]+)(?<![a-z] St )", lambda match: "Saint "),
    (r"\b(?:Mt|mt) (?=[A-Z][a-z]+)", lambda match: "Mount "),
    (r"\ba\.k\.a\.?(?!\w)", lambda match: "a k a"),
]
_PER = {"km": "kilometers", "m": "meters", "mi": "miles", "h": "hour", "hr": "hour", "s": "second"}
CAPITALS = [
    (r"\bWW(I{1,2})\b", lambda match: f"World War {'one' if match[1] == 'I' else 'two'}"),
    (r"\b(?:[A-Z]\.){2,}", _initials),
    (r"\b([A-Z]{1,3})&([A-Z]{1,3})\b", lambda match: f"{' '.join(match[1])} and {' '.join(match[2])}"),
    (r"\b([A-Z]{2,})(s)?\b", _capitals),
]
BETWEEN = [
    (r"\bw/o(?!\w)", lambda match: "without"),
    (r"(?<![\w/])w/ ?(?=[A-Za-z])", lambda match: "with "),
    (r"\bc/o(?!\w)", lambda match: "care of"),
    (r"\b[Nn]/[Aa]\b", lambda match: "not applicable"),
    (r" ?& ?", lambda match: " and "),
    (r"(?<=\w) ?= ?(?=\w)", lambda match: " equals "),
    (r"(?<=\w) ?× ?(?=\w)", lambda match: " times "),
    (r" ?@ ?", lambda match: " at " if match.start() else "at "),
    (r"(?<=\w)#", lambda match: " hash"),
    (r"[®™℠]", lambda match: ""),
    (r"\b(and|either)/or\b", lambda match: f"{match[1]} or"),
    (
        r"(?<![\w/])(km|mi|m)/(hr?|s)(?![\w/])",
        lambda match: f"{_PER[match[1]]} per {_PER[match[2]]}",
    ),  # without a number
    (r"(?<=[A-Za-z])/(?=[A-Za-z])", lambda match: " or "),
    (r"(?<=\w)/(?=\w)", lambda match: " slash "),
]
