"""What a column of a table is, by what is in it: names of recordings, a speaker, a language, a text."""

import re
import statistics
from functools import cached_property

_LANGUAGES = frozenset(
    "ar bg bn ca cs cy da de el en es et eu fa fi fr ga gl gu he hi hr hu hy id is it ja jp ka kk km kn ko kr lt lv mk ml mn mr ms mt my nb "
    "ne nl nn no pa pl pt ro ru si sk sl sq sr sv sw ta te th tl tr uk ur uz vi yue zh cn eng deu fra spa ita jpn kor rus por zho "
    "english german french spanish italian japanese korean chinese russian portuguese dutch polish turkish arabic hindi".split()
)
# Values that describe a recording and name nobody.
_ATTRIBUTES = frozenset(
    "m f male female man woman other unknown none nan null true false yes no train test dev val valid validation eval "
    "neutral happy sad angry surprised surprise fear fearful disgust calm excited whisper whispering normal amused sleepy bored "
    "teens twenties thirties forties fifties sixties adult child young old".split()
)
_IPA = re.compile("[ɐ-ʯˈˌːˑ]")
_NUMBER = re.compile(r"[-+]?[\d.,:]+\Z")
_LONGEST_NAME = 150  # characters; Common Voice's are 128
_SMALL = 4  # rows: of so few, names need not repeat
_SAME = 0.4  # share of words that two versions of one text have in common


class Column:
    """Some cells of a column."""

    def __init__(self, name, cells, has=None):
        self.name, self.has = name, has
        self.whole = [cell for cell in cells if cell is not None and cell != ""]
        self.lines = [str(cell).strip() if isinstance(cell, (str, int, float)) else "" for cell in cells]
        self.cells = [line for line in self.lines if line]
        self.rows = len(cells)

    @property
    def empty(self):
        return not self.whole

    @cached_property
    def values(self):
        return set(self.cells)

    @property
    def variety(self):
        """Distinct values in the cells."""
        return len(self.values) / len(self.cells) if self.cells else 0.0

    @cached_property
    def found(self):
        """Share of cells that name a recording that is there, or are one."""
        if any(isinstance(cell, (bytes, dict)) for cell in self.whole):
            return 1.0
        return sum(map(self.has, self.cells)) / len(self.cells) if self.cells and self.has else 0.0

    @property
    def lists(self):
        """Whether the cells are lists, as codes are."""
        return any(isinstance(cell, list) for cell in self.whole)

    @cached_property
    def suffixed(self):
        """Share of cells that end like a recording's name."""
        from orpheus.data.sources.places import split_suffix

        return sum(bool(split_suffix(cell)[1]) for cell in self.cells) / max(len(self.cells), 1)

    @cached_property
    def letters(self):
        """Letters of a cell, on average."""
        return statistics.fmean(sum(map(str.isalpha, cell)) for cell in self.cells) if self.cells else 0.0

    @cached_property
    def digits(self):
        return sum(sum(map(str.isdigit, cell)) for cell in self.cells)

    @cached_property
    def marks(self):
        return sum(len(re.findall(r"[.,;:!?]", cell)) for cell in self.cells)

    def share(self, is_such):
        return sum(map(bool, map(is_such, self.cells))) / max(len(self.cells), 1)

    @cached_property
    def phonemes(self):
        return self.share(_IPA.search) > 0.3

    @cached_property
    def language(self):
        return bool(self.cells) and all(re.split(r"[-_]", value.lower())[0] in _LANGUAGES for value in self.values)

    @cached_property
    def attribute(self):
        return bool(self.cells) and all(value.lower() in _ATTRIBUTES for value in self.values)

    def repeats(self, share):
        """Whether the values are few, and short enough for names."""
        if not self.cells or max(map(len, self.cells)) > _LONGEST_NAME or len(self.cells) < self.rows / 2:
            return False
        return len(self.values) <= max(1, share * len(self.cells)) and len(self.cells) > 1


def find_audio(columns, header=True):
    """The column that names recordings: those that are there, else those that end like some, else, in a table without a header, the first
    that has a different word in every row; None where there is none."""
    varied = [column for column in columns if column.variety > 0.5 or len(column.cells) < 2]
    for share in (lambda column: column.found, lambda column: column.suffixed):
        best = max(varied, key=share, default=None)
        if best is not None and share(best) > 0:
            return best.name
    words = (column for column in varied if column.variety == 1 and not column.share(lambda cell: " " in cell))
    return None if header else next((column.name for column in words), None)


def find_text(columns):
    """(the column that is long and varied, another version of it or None). Of two, the one whose numbers are words."""
    written = [
        c
        for c in columns
        if c.share(lambda cell: any(map(str.isalpha, cell))) > 0.5 and not c.found and c.suffixed < 0.5
    ]
    written = [c for c in written if not c.language and not c.attribute and c.share(_NUMBER.match) < 0.5]
    written = [c for c in written if not c.phonemes] or written
    if not written:
        return None, None

    def weight(column):
        return column.letters * column.variety

    best = max(written, key=weight)
    versions = [column for column in written if column is not best and _alike(best, column)]
    if not versions:
        return best.name, None
    chosen = min([best, *versions], key=lambda c: (c.digits, -c.marks, -columns.index(c)))
    other = next(column for column in [best, *versions] if column is not chosen)
    return chosen.name, other.name


def _alike(first, second):
    """Whether two columns say the same in different ways."""
    shares = []
    for one, other in zip(first.lines, second.lines, strict=True):
        if not one or not other:
            continue
        one, other = (set(re.findall(r"\w+", cell.lower())) for cell in (one, other))
        shares.append(len(one & other) / max(len(one | other), 1))
    return bool(shares) and statistics.fmean(shares) >= _SAME


def find_source(columns):
    """The column that names speakers: few values that repeat, no language, no property; None where there is none."""
    fits = [column for column in columns if _names(column) and not column.language and not column.attribute]
    return max(fits, key=_likeness, default=None).name if fits else None


def _names(column):
    if column.repeats(0.5):
        return not any("." in value and _NUMBER.match(value) for value in column.values)
    if not column.cells or column.rows > _SMALL:
        return False
    if len(column.values) < len(column.cells):
        return all(re.fullmatch(r"\w[\w' -]{0,29}", value) for value in column.values)
    return all(re.fullmatch(r"[^\W\d_][\w' -]{0,29}", value) and value.count(" ") < 2 for value in column.values)


def _likeness(column):
    """Names are words rather than numbers; the first column counts where nothing else tells."""
    return column.share(lambda value: value[:1].isalpha()), column.share(lambda value: " " not in value)
