"""Where sentences end, in the scripts and languages that people write.

Marks of other scripts than Latin are plain: whatever follows a danda or an Arabic question mark is another sentence. A full stop
is not: it also stands after abbreviations, initials and numbers, which depends on the language (abbreviations.py). Thai, and what
is written without any mark, has no ends that could be found: spaces are where it is cut, see pieces.py.
"""

import re

from orpheus.text.abbreviations import abbreviations
from orpheus.text.languages import ENGLISH
from orpheus.text.tags import ANY_TAG

# Marks that end a sentence wherever they stand: Unicode's Sentence_Terminal of the scripts in use, but for the Burmese "၊", a comma.
# "॥ १२ ॥" is one mark, around the number of a verse; "។ល។" is the Khmer "etc."; "፡፡" the Ethiopic full stop as typed.
_PLAIN = (
    r"॥\s?\d{1,4}\s?॥|។ល។|፡፡|[։؞؟۔܀-܂߹।॥။።፧፨᙮᜵᜶។៕᠃᠉᥄᥅᪨-᪫᭚᭛᭞᭟᰻᰼᱾᱿‼‽⁇-⁉⸮⹓⹔꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝-꩟꫰꫱꯫。｡！？︒︕︖﹖﹗]|．(?!\d)"
)
_CJK = "\u2e80-\u303e\u3041-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef"
_CLOSERS = r"\"')\]}”’»›«‹」』】〉》〕］）｝｣"
_TAGS = rf"(?:\s*{ANY_TAG})*"
# After ".", "!" and "?" there is white space; of "!" and "?" between Chinese or Japanese characters there need be none.
_SPACED = (
    rf"(?<![.!?…])[.!?…]+[{_CLOSERS}]*(?:\s[»›](?=[\s.!?…]|$)[.!?…]*)?{_TAGS}(?=\s)|(?<=[{_CJK}])[!?]+(?=[{_CJK}])"
)
_END = re.compile(rf"(?P<plain>(?:{_PLAIN})+)|{_SPACED}")
_COLON_ENDS = {"el": re.compile(rf"{_END.pattern}|;[{_CLOSERS}]*(?=\s)"), "hy": re.compile(rf"{_END.pattern}|:(?=\s)")}
_AFTER_PLAIN = re.compile(r"[!?！？.…]*[’”»›」』】〉》〕］）｝｣)\]}]*(?:\s[»›](?=\s|$))?")
_QUOTED = "”’」』\"'"
# What stands before the first letter of a sentence.
_NEXT = re.compile(rf"(?:[\s\"'(\[«»‹›„“‘¿¡「『（【《〈*•–—-]|,,|{ANY_TAG})*(.?)", re.S)
_DASH = re.compile(r"\s*[-–—]")
_LABEL = re.compile(r"\w\)")  # as in "c) the third"
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_LONGEST_WORD = 40  # characters to look back for an abbreviation
# The word before a full stop; with the initials before it, so that "z. B." and "z.B." are one.
_LAST = re.compile(r"(?:(?<![\w.])(?:\w\. ?)+)?[^\s\"'(\[«»‹›„“‘¿¡「『（—/]*$")
_ELISION = re.compile(r"^(?:\w{1,6}['’])+")  # l'art., dell'art., d'av.
_NUMBER = re.compile(r"[\W]*(?:\d|[IVXLC]+\b)")
_ROMAN = re.compile(r"(?=[ivxlc]{2})c{0,3}(?:xc|xl|l?x{0,3})(?:ix|iv|v?i{0,3})")
_SYLLABLE = re.compile(f"[{_CJK}\u1200-\u139f]")  # a character may be a word
_MARK = re.compile(
    r"[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0903\u093a-\u094f\u0981-\u0983\u09bc-\u09cd\u0a01-\u0a03\u0a3c-\u0a4d\u0a81-\u0a83\u0abc-\u0acd\u0b01-\u0b03\u0b3c-\u0b4d\u0b82\u0bbe-\u0bcd\u0c00-\u0c04\u0c3e-\u0c4d\u0c81-\u0c83\u0cbc-\u0ccd\u0d00-\u0d03\u0d3b-\u0d4d]"
)

# --- numbers ---------------------------------------------------------------------------------------------------------

# Languages that write ordinals with a full stop: "der 3. Mann", "5. května", "2. Dünya Savaşı".
_ORDINALS = frozenset("de lb da no nn fi et lv cs sk sl hr sr bs hu tr is fo pl eu".split())
_MONTHS = frozenset(  # after a number and a full stop, in any language; as far as they aren't English too
    "januar jänner februar feber märz mai juni juli oktober dezember januari februari maart mei augustus desember "
    "január február március április május június július augusztus szeptember október ocak şubat mart nisan mayıs haziran temmuz "
    "ağustos eylül ekim kasım aralık".split()
)
_ENGLISH_MONTHS = frozenset("april august september november".split())
_BEFORE_ORDINAL = frozenset(
    "der die das dem den des am im vom zum zur beim ins ans fürs bis seit ab und oder sowie ihr ihre ihrem ihren ihrer ihres sein seine "
    "seinem seinen seiner mein meine meinem meinen meiner unser unsere unserem unseren unserer euer eure dieser diese dieses diesem "
    "diesen jeder jede jedes jedem jeden ein eine einem einen einer heute gestern morgen montag dienstag mittwoch donnerstag freitag "
    "samstag sonntag".split()
)
_GERMAN = frozenset("der dem den des das im vom zum zur beim".split())  # of these, what is no English


def _is_ordinal(word, before, following, language, known):
    """Whether the number `word` and its full stop mean "the 3rd". following: the next word, as written"""
    last = before[: len(before) - len(word)].rstrip(" \"'(-–/").rpartition(" ")[2].lower()
    # German in another language's text, or in a language that nobody named.
    if last in _GERMAN and language not in _ORDINALS:
        language, known = "de", abbreviations("de")
    if language not in _ORDINALS or len(word) > 3 and word.isdigit():
        return False
    if following.lower() in known.starters:
        return False
    if language != "de":
        return len(word) < 3 or not word.isdigit()
    if last in _BEFORE_ORDINAL or (last.endswith(".") and last[:-1].isdigit()):
        return True
    # "des späten 15. Jahrhunderts", "ihr vielbegangenes 60. Jubiläum"
    return last.endswith(("en", "em", "es", "er")) or following.lower().startswith("jahrhundert")


# --- words -----------------------------------------------------------------------------------------------------------


def _is_initial(word):
    """Whether it is a letter, or letters with full stops between them: "J", "U.S", "т.е", "டி.எஸ்"."""
    parts = word.replace(".-", ".").split(".")
    if not all(part and part[0].isalpha() for part in parts):
        return False
    if all(len(part) == 1 for part in parts):
        return not _SYLLABLE.match(word)
    letters = [_MARK.sub("", part) for part in parts]
    if "\u0b80" <= word[0] <= "\u0d7f":  # Tamil to Malayalam: a name's first syllable stands for it
        return all(len(part) == 1 for part in letters) or len(parts) > 1
    most = 2 if word[0].isascii() or word[0].lower() != word[0].upper() else 3
    return len(parts) > 1 and all(len(part) <= most for part in letters)


def _stops(text, start, match, following, language, danda):
    """Whether the full stop of `match` ends the sentence that began at `start`. following: where the next sentence would begin"""
    if match.start() == start or not text[match.start() - 1].isalnum() and text[match.start() - 1].isascii():
        return True
    known = abbreviations(language)
    before = text[max(start, match.start() - _LONGEST_WORD) : match.start()]
    word = before[before.rfind(" ") + 1 :].lstrip("\"'([«»‹›„“‘¿¡「『（")
    after = _WORD.match(text, following)
    after = after[0] if after else ""
    number = text[following : following + 1].isdigit() or bool(_ROMAN.fullmatch(after.lower()) and after.isupper())
    begins = after.lower() in known.starters if known.starters else bool(after)
    begins = begins and not after[0].islower()

    def found_in(table):
        return any(form in table for form in forms)

    whole = _LAST.search(before)[0].replace(" ", "").lower()
    short = _ELISION.sub("", word.lower())
    forms = {whole, word.lower(), short, short.rpartition("-")[2]}
    if found_in(known.ends):
        earlier = before[: len(before) - len(word)].split()
        counted = word.islower() and earlier and _NUMBER.match(earlier[-1])
        if len(word) > 1 or word == "я" or whole in known.ends - {short} or counted:
            return True
    if language == "de" and short.endswith("str"):
        forms.add("str")
    if found_in(known.maybe) and not number:
        return begins
    if found_in(known.never) or (number and found_in(known.before_number)):
        return False
    if number and "." in whole and _is_initial(whole):
        return False
    at_start = before.strip() == word
    if word.isdigit():
        month = after.lower() in _MONTHS or (language in _ORDINALS and after.lower() in _ENGLISH_MONTHS)
        if at_start or (month and len(word) < 3):
            return False
        return not _is_ordinal(word, before, after, language, known)
    if _ROMAN.fullmatch(word.lower()) and word.isupper() and word.isascii():
        return not at_start and not _is_ordinal(word, before, after, language, known)
    if danda and len(word) <= 4 and word and not word[0].isascii():
        return False
    if word in ("I", "Я") or not _is_initial(word):
        return True
    # "He was in the U.S. Then he left.", "vitamin C. It is"; but "J. R. R. Tolkien" and "A. The first".
    one_of_several = "." in whole and "." not in word and not whole[:1].isupper()
    return bool(known.starters) and begins and not at_start and not one_of_several


def _ends_sentence(text, start, match, language, danda):
    """Whether the candidate `match` in `text`, one of white space, ends the sentence that began at `start`."""
    following = _NEXT.match(text, match.end())
    stop = match[0].startswith(".")
    dashed = stop and _DASH.match(text, match.end())  # a list's next line; "- What? - he asked." goes on
    if following[1].islower() and not dashed and not _LABEL.match(text, following.start(1)):
        return False
    if following[1] in (",", ";", ":") or (stop and following[1] == "/"):
        return False
    if match[0][0] in ";:":
        return following[1].isupper()
    omitted = match.start() and text[match.start() - 1] in "([" and match[0].rstrip()[-1:] in ")]"  # "(...)"
    if omitted and match[0][0] in ".…":
        return False
    if not stop or match[0].startswith(".."):
        return True
    return _stops(text, start, match, following.start(1), language, danda)


# --- quotations ------------------------------------------------------------------------------------------------------

# What goes on with the sentence after a quotation that ends with a mark of its own: Japanese particles, Chinese verbs of saying.
_GOES_ON = re.compile(
    r"[、，,]|と(?!ころ|にかく|ても|りあえず|もに)|って|なんて|は|が(?!っ)|を|に(?!も)|の"
    r"|[^\s。！？，、：；!?,:;\"「『“]{0,8}?(?:说|說|道(?!路)|问|問|喊|叫|答|笑着|笑著|表示|称|稱|写道|寫道|补充|補充|解释|解釋|指出|强调|強調|认为|認為)"
)


def _after_plain(text, match, counted):
    """(end of what belongs to the mark, whether the sentence ends there). counted: quotes before it, {quote: number}

    A typewriter's quote closes if one is open, since it looks the same at both ends.
    """
    end, quoted = match.end(), False
    while True:
        further = _AFTER_PLAIN.match(text, end)
        quoted |= any(character in _QUOTED for character in further[0])
        end = further.end()
        quote = text[end : end + 1]
        if quote not in ('"', "'") or not quote:
            break
        if quote == "'" and counted["'"] % 2 == 0 or quote == '"' and counted['"'] % 2 == 0:
            break
        counted[quote] += 1
        quoted, end = True, end + 1
    return end, not (quoted and _GOES_ON.match(text, end))


_SPOKEN = re.compile(r"[^\W_]")
_TAGS_AFTER = re.compile(_TAGS)


def sentence_spans(paragraph, language=ENGLISH):
    """Where the sentences of a paragraph are: a list of (start, end), in order, without the white space between them.

    language: a code such as "de" (languages.py); it decides which words are abbreviations
    """
    spans, start, counted, at = [], 0, {'"': 0, "'": 0}, 0
    danda = "।" in paragraph
    search, place, letter = _COLON_ENDS.get(language, _END), 0, -1  # letter: the first one at or after `start`
    while match := search.search(paragraph, place):
        place = match.end()
        if match["plain"]:
            for quote in counted:
                counted[quote] += paragraph.count(quote, at, place)
            at = place
            place, ends = _after_plain(paragraph, match, counted)
            at = place
            place = _TAGS_AFTER.match(paragraph, place).end() if ends else place
        else:
            ends = _ends_sentence(paragraph, start, match, language, danda)
        if not ends:
            continue
        if letter < start:
            found = _SPOKEN.search(paragraph, start)
            letter = found.start() if found else len(paragraph)
        if letter < place:
            spans.append((start, place))
            start = place
        elif spans:  # marks alone, as in ". . .", belong to the sentence before
            spans[-1] = spans[-1][0], place
            start = place
    spans.append((start, len(paragraph)))
    return [span for span in (stripped(paragraph, *span) for span in spans) if span[0] < span[1]]


def stripped(text, start, end):
    """The span without white space at its ends."""
    inner = text[start:end]
    return start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())


def split_sentences(paragraph, language=ENGLISH):
    """The sentences of a paragraph; tags stay with their sentence. With the white space between them they give it back."""
    return [paragraph[start:end] for start, end in sentence_spans(paragraph, language)]
