"""Where a run of characters without any break may be cut in two, if it must be: never inside what a reader takes for one."""

import unicodedata

_JOINERS = "\u200c\u200d"
_VIRAMA = 9  # its canonical combining class: a consonant after it is of the same syllable
# Thai and Lao vowels are written before their consonant, or after it; one reads them together.
_BEFORE_CONSONANT = frozenset("เแโใไເແໂໃໄ")
_AFTER_CONSONANT = frozenset("ะาำๅๆฯະາຳໆຯ")
# Never first, never last in a line of Chinese or Japanese, so neither in a piece.
_NEVER_FIRST = frozenset(
    "、。，．！？：；｡､」』）】〉》〕］｝｣〟’”·・ーゝゞヽヾ々ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ,.!?:;%)]}…"
)
_NEVER_LAST = frozenset("「『（【〈《〔［｛｢〝‘“([{¿¡$€£¥#@")
_WITH_SYLLABLE = {"L": ("L", "V", "LV", "LVT"), "V": ("V", "T"), "LV": ("V", "T"), "T": ("T",), "LVT": ("T",)}


def _jamo(character):
    """What a Hangul jamo or syllable is, "L", "V", "T", "LV" or "LVT"; else None."""
    code = ord(character)
    if 0xAC00 <= code <= 0xD7A3:
        return "LVT" if (code - 0xAC00) % 28 else "LV"
    if 0x1100 <= code <= 0x115F or 0xA960 <= code <= 0xA97C:
        return "L"
    if 0x1160 <= code <= 0x11A7 or 0xD7B0 <= code <= 0xD7C6:
        return "V"
    return "T" if 0x11A8 <= code <= 0x11FF or 0xD7CB <= code <= 0xD7FB else None


def _is_flag(character):
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _extends(character):
    """Whether it belongs to what stands before: marks, joiners, skin tones, the tags of a flag."""
    mark = unicodedata.category(character)[0] == "M" or character in _JOINERS
    return mark or "\U0001f3fb" <= character <= "\U0001f3ff" or "\U000e0020" <= character <= "\U000e007f"


def in_cluster(text, place):
    """Whether a cut before character number `place`, 0 < place < len(text), would be inside a grapheme cluster.

    Unicode Standard Annex 29, with its conjuncts: marks, jamo, emoji with their joiners, flags, surrogates; and a Thai or Lao vowel
    with its consonant.
    """
    before, after = text[place - 1], text[place]
    if before.isascii() and after.isascii():
        return False
    if _extends(after) or before in _JOINERS or before in _BEFORE_CONSONANT or after in _AFTER_CONSONANT:
        return True
    if unicodedata.combining(before) == _VIRAMA and unicodedata.category(after)[0] == "L":
        return True
    if "\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff":
        return True
    if _is_flag(before) and _is_flag(after):
        first = place - 1
        while first and _is_flag(text[first - 1]):
            first -= 1
        return (place - first) % 2 == 1
    return _jamo(after) in _WITH_SYLLABLE.get(_jamo(before), ())


def _fair(text, place):
    return text[place] not in _NEVER_FIRST and text[place - 1] not in _NEVER_LAST and not in_cluster(text, place)


def nearest_cut(text, start, end, reach):
    """Where to cut `start`..`end` of `text`, near its middle: outside clusters, and within `reach` not beside marks that end or open.

    None where all of it is one cluster.
    """
    middle = (start + end) // 2
    for away in range(end - start):
        for place in (middle - away, middle + away):
            if start < place < end and (_fair(text, place) if away <= reach else not in_cluster(text, place)):
                return place
    return next((place for place in range(start + 1, end) if not in_cluster(text, place)), None)
