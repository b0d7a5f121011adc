"""Roman numerals: of rulers, of what is numbered, of years."""

from orpheus.text.normalization.numbers import say_number, say_ordinal, say_year

_RULERS = (
    "Henry Louis George Charles Edward Richard Elizabeth William James John Paul Pius Benedict Philip Francis Napoleon "
    "Catherine Peter Alexander Frederick Ivan Nicholas Leo Gregory Mary Margaret Ferdinand Victoria Clement Innocent "
    "Urban Boniface Sixtus Celestine Eugene Honorius Stephen Adrian Julius Martin Callixtus Anastasius Felix Sylvester "
    "Ramesses Rameses Thutmose Ptolemy Cleopatra Darius Xerxes Otto Wilhelm Franz Joseph Leopold Albert Christian Gustav "
    "Haakon Olav Harald Baldwin Alfonso Alphonse Juan Carlos Felipe Pedro Sancho Umberto Mehmed Murad Selim Suleiman "
    "Rama Mohammed Constantine Justinian Theodosius Valentinian Edmund Ethelred Malcolm Robert David Kenneth Donald"
).split()
_COMMON = "Henry Louis George Charles Edward Richard Elizabeth William James John Paul Pius Benedict Philip Francis Napoleon".split()
_COMMON += "Catherine Peter Alexander Frederick Ivan Nicholas Leo Gregory Mary Margaret Ferdinand Victoria".split()
_NUMBERED = "Chapter Part Act Scene Volume Book Section Phase Type Class Level Title Appendix Figure Article Stage Division".split()
_NUMBERED_TOO = (  # but people say "the Series I like"
    "War Bowl Olympiad Canto Psalm Sonnet Lesson Unit Table Plate Grade Group Series Schedule Mark Saturn Episode".split()
)
_TITLES = "King|Pope|Tsar|Czar|Queen|Emperor|Empress|Kaiser|Sultan|Pharaoh"
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_NUMERAL = (
    r"(?=[IVXLCDM]{2,15}\b|[IVX]\b)(?:M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))\b(?!\.\w|-\w|'\w)"
)
_SHORT = r"(?=[IVX]{1,7}\b)(?:X{0,3}(?:IX|IV|V?I{0,3}))\b"  # 1 to 39: no C or D, which name other things
_NOT_NAMES = "The|An|This|That|My|Your|His|Her|And|But|Or|If|So|As|In|On|At|To|For|Of|Vitamin|Malcolm"
_I_ENDS = r"(?=\s*$|[.,;:)!?]|'s\b|--| of\b| \(| (?:and|to|in|at) [A-Z\d])"  # behind "Francis I"; "Mary I met" is someone else


def _number(numeral):
    numbers = [_VALUES[letter] for letter in numeral]
    return sum(-n if n < m else n for n, m in zip(numbers, [*numbers[1:], 0]))


def _ruler(match):
    return f"{match[1]} the {say_ordinal(str(_number(match[2])))}"


def _numbered(match):
    name, numeral = match.groups()
    return _ruler(match) if name in _RULERS else f"{name} {say_number(_number(numeral))}"


def _both(match):
    name, first, between, second = match.groups()
    return f"{name} {say_number(_number(first))}{between}{say_number(_number(second))}"


def _year(match):
    return say_year(str(_number(match[1]))) if 1400 <= _number(match[1]) < 2100 else match[0]


RULES = [
    (rf"^({_SHORT})(?<=[A-Z][A-Z])(?=[.):]?\s*$)", lambda match: say_number(_number(match[1]))),  # a heading
    (rf"\b((?i:{'|'.join(_NUMBERED)})s) ({_NUMERAL})( and | or | to | through )({_NUMERAL})", _both),
    (rf"({'|'.join(_NUMBERED)}) ({_NUMERAL})", _numbered),
    (rf"({'|'.join(_NUMBERED).upper()}) ({_NUMERAL})", _numbered),
    (rf"({'|'.join(_NUMBERED_TOO)}) ((?!I\b){_NUMERAL}|I{_I_ENDS})", _numbered),
    (rf"\b((?:{'|'.join(_NUMBERED).lower()})s?) ((?!XL\b)(?=[IVXL]{{2}}){_NUMERAL}(?<=[IVXL]{{2}})|[VX]\b)", _numbered),
    (rf"({_TITLES}) ([A-Z][a-z]+) ({_NUMERAL})", lambda match: f"{match[1]} {match[2]} the {say_ordinal(str(_number(match[3])))}"),
    (rf"(John Paul|{'|'.join(_RULERS)}) ({_SHORT}(?<=[IVX][IVX])|V\b|X(?<!Malcolm X)\b)", _ruler),
    (rf"({'|'.join(_COMMON)}) (I){_I_ENDS}", _ruler),
    (rf"\b(?!(?:{_NOT_NAMES}) )([A-Z][a-z]+) ({_SHORT}(?<=[IVX][IVX]))", _numbered),
    (r"(?<=[a-z] )(?<!the )(?<!an )(?<!a )(III|II|VI{1,3}|IX|XI{1,3})\b(?!['.-]\w)", lambda match: say_number(_number(match[1]))),
    (r"(?<=[a-z]), (III?|IV)(?=[,.]|\s*$)", lambda match: f" the {say_ordinal(str(_number(match[1])))}"),
    (r"\b(M{1,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))\b(?<=[A-Z]{4})", _year),
]  # fmt: skip
