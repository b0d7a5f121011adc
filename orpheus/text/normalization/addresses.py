"""Streets, states and ZIP codes of the United States."""

import re

from orpheus.text.normalization.numbers import say_code, say_digits, say_number
from orpheus.text.normalization.patterns import ends_sentence, one_of

_STREETS = {
    **{"St": "Street", "Ave": "Avenue", "Av": "Avenue", "Blvd": "Boulevard", "Rd": "Road", "Dr": "Drive", "Ln": "Lane"},
    **{
        "Ct": "Court",
        "Pl": "Place",
        "Sq": "Square",
        "Ter": "Terrace",
        "Terr": "Terrace",
        "Hwy": "Highway",
        "Cir": "Circle",
    },
    **{
        "Pkwy": "Parkway",
        "Expy": "Expressway",
        "Expwy": "Expressway",
        "Fwy": "Freeway",
        "Tpke": "Turnpike",
        "Aly": "Alley",
    },
}
_SIDES = {"N": "North", "S": "South", "E": "East", "W": "West", "NE": "Northeast", "NW": "Northwest", "SE": "Southeast"}
_SIDES |= {"SW": "Southwest"}
_STATES = {
    **{"AL": "Alabama", "AK": "Alaska", "AZ": "Arizona", "AR": "Arkansas", "CA": "California", "CO": "Colorado"},
    **{"CT": "Connecticut", "DE": "Delaware", "FL": "Florida", "GA": "Georgia", "HI": "Hawaii", "ID": "Idaho"},
    **{
        "IL": "Illinois",
        "IN": "Indiana",
        "IA": "Iowa",
        "KS": "Kansas",
        "KY": "Kentucky",
        "LA": "Louisiana",
        "ME": "Maine",
    },
    **{
        "MD": "Maryland",
        "MA": "Massachusetts",
        "MI": "Michigan",
        "MN": "Minnesota",
        "MS": "Mississippi",
        "MO": "Missouri",
    },
    **{
        "MT": "Montana",
        "NE": "Nebraska",
        "NV": "Nevada",
        "NH": "New Hampshire",
        "NJ": "New Jersey",
        "NM": "New Mexico",
    },
    **{"NY": "New York", "NC": "North Carolina", "ND": "North Dakota", "OH": "Ohio", "OK": "Oklahoma", "OR": "Oregon"},
    **{"PA": "Pennsylvania", "RI": "Rhode Island", "SC": "South Carolina", "SD": "South Dakota", "TN": "Tennessee"},
    **{"TX": "Texas", "UT": "Utah", "VT": "Vermont", "VA": "Virginia", "WA": "Washington", "WV": "West Virginia"},
    **{"WI": "Wisconsin", "WY": "Wyoming", "DC": "D C"},
}
_WORDS_TOO = {"IN", "OR", "OK", "ME", "HI", "OH", "ID", "LA", "MA", "PA", "AL", "MD", "MS", "CO", "DE"}
_EXCLAIMED = (
    "Oh Ah Yes No Well Yeah Sure Hey Hi Fine Okay Now So Then And But Or Please Mom Dad Look Listen Wait".split()
)

_STREET = one_of({*_STREETS, *(name.lower() for name in _STREETS)})
_HOUSE = r"\d{1,5}[A-Za-z]?"
_NAME = r"[A-Z][\w'.]{0,20}|\d{1,3}(?:st|nd|rd|th)|of|the|de|la"
_NUMBER_AND_STREET = rf"(?<![\w.,$€£/:-])({_HOUSE}) (?:({one_of(_SIDES)})\.? )?((?:(?:{_NAME}) ){{1,4}})({_STREET})\b(\.)?(?: ({one_of(_SIDES)})\b)?"


def _house(number):
    """ "1428" -> "fourteen twenty-eight", "708" -> "seven oh eight", "12B" -> "twelve B"."""
    digits, letter = (number[:-1], f" {number[-1].upper()}") if number[-1].isalpha() else (number, "")
    if len(digits) == 4 and digits[1:] != "000" and digits[0] != "0":
        rest = digits[2:]
        words = f"{say_number(int(digits[:2]))} " + ("hundred" if rest == "00" else _two(rest))
    elif len(digits) == 3 and digits[1:] != "00" and digits[0] != "0":
        words = f"{say_number(int(digits[0]))} {_two(digits[1:])}"
    else:
        words = say_digits(digits) if len(digits) == 5 else say_code(digits)
    return words + letter


def _two(digits):
    return f"oh {say_number(int(digits))}" if digits[0] == "0" else say_number(int(digits))


def _number_and_street(match):
    house, side, name, street, dot, side_after = match.groups()
    words = [_house(house), _SIDES[side] if side else "", name.strip(), _STREETS[street.capitalize()]]
    words += [_SIDES[side_after]] if side_after else []
    return " ".join(filter(None, words)) + ("." if dot and ends_sentence(match) and not side_after else "")


def _state(match):
    """ "Salem, OR 97301" -> "Salem, Oregon nine seven three zero one"; a word that someone exclaims stays."""
    town, comma, state, code, four = match.groups()
    if not code and (
        town in _EXCLAIMED or (state in _WORDS_TOO and not re.match(r"[,.:)]|\s*$", match.string[match.end() :][:3]))
    ):
        return match[0]
    zip_code = f" {say_digits(code)}" + (f", {say_digits(four)}" if four else "") if code else ""
    return f"{town}{comma} {_STATES[state]}{zip_code}"


RULES = [
    (_NUMBER_AND_STREET, _number_and_street),
    (rf"\b([A-Z][a-z]+)(,) ({one_of(_STATES)})\b(?:,? (\d{{5}})(?:-(\d{{4}}))?(?!\w|[.,:/-]\d))?", _state),
    (rf"\b([A-Z][a-z]+)() ({one_of(_STATES)}) (\d{{5}})(?:-(\d{{4}}))?(?!\w|[.,:/-]\d)", _state),
]
