"""Emotion tags: the pattern that they follow, finding them in a text, and reading other spellings of them.

A tag is a name in angle brackets, `<laugh>`, of any script, with digits, `_`, `-` and single spaces inside: `<laugh_harder>`,
`<작은 웃음>`. Names of other scripts than Latin may stand in curly brackets. Which tags a model knows is said by its description
(orpheus/text/description.py); TAGS are those of Orpheus-3B.
"""

import difflib
import re
from collections import Counter
from dataclasses import dataclass, field

# Emotion tags by category. To the tokenizer they are ordinary text; the model learnt the sounds from data.
TAGS = {
    "Laughter": ("laugh", "giggles", "chuckle"),
    "Emotions": ("sigh", "gasp"),
    "Physical": ("yawn", "cough", "sniffle", "groan"),
}
KNOWN_TAGS = tuple(tag for tags in TAGS.values() for tag in tags)

# What HTML calls its elements is no tag, in any case: `<b>`, `<BR>`.
_HTML = (
    "a abbr b big blockquote body br center code del div em font h1 h2 h3 h4 h5 h6 head hr html i img ins kbd li mark ol p pre q s "
    "samp script small span strike strong style sub sup table tbody td th title tr tt u ul var"
)
_NO_TAG = rf"(?!(?:custom_token_\d+|spk_\w+|(?i:{_HTML.replace(' ', '|')}))[>}}])"
_INSIDE = r"[^\s<>{}|=@/\\:;,.!?\"'()\[\]&#$%^*+~`]"  # marks of any script are letters here: Hindi's vowels are such
_WORD = rf"[^\W\d_]{_INSIDE}{{0,40}}"
# Of several words the first has two letters at least, and no Latin letter stands beside the brackets: "x<y and z>0" is none.
_WORDS = rf"[^\W\d_]{_INSIDE}{{1,40}}(?: {_INSIDE}{{1,40}}){{1,3}}"
_OPENING = (
    rf"(?:<{_NO_TAG}(?={_WORD}>)|(?<![A-Za-z0-9])<(?={_WORDS}>(?![A-Za-z0-9]))|"
    rf"\{{(?![A-Za-z])(?={_WORD}(?: {_INSIDE}{{1,40}}){{0,3}}\}}))"
)
ANY_TAG = rf"{_OPENING}[^<>{{}}]+[>}}]"  # for larger patterns
TAG = re.compile(rf"{_OPENING}([^<>{{}}]+)[>}}]")
MARKUP = re.compile(rf"</?(?:{_HTML.replace(' ', '|')})(?:\s[^<>]*)?/?>", re.I)
SPEAKER_TOKEN = re.compile(r"<spk_(\w+)>")  # an added token of models like Veena; no tag


def find_tags(text):
    """Names of the tags in `text`, in order, as written: "<laugh> ho <Sigh>" -> ["laugh", "Sigh"]."""
    return TAG.findall(text)


def unknown_tags(text, known=KNOWN_TAGS):
    """{unknown tag: nearest known tag or None}, in order of appearance."""
    names = {tag.casefold() for tag in known}
    unknown = dict.fromkeys(tag for tag in find_tags(text) if tag.casefold() not in names)
    return {tag: next(iter(difflib.get_close_matches(tag.casefold(), list(known), n=1)), None) for tag in unknown}


# --- other spellings -------------------------------------------------------------------------------------------------

# Sounds and moods that some model of the family has a tag for, or that people write as a stage direction. What is in brackets or
# between asterisks and is none of these is text.
_DIRECTIONS = (
    "laugh giggle chuckle sigh gasp yawn cough sniffle sniff groan moan sob cry whimper snort exhale inhale breath gulp scream shout "
    "whisper sing hum happy sad angry excited surprised scared sarcastic curious"
)
_SAME = {"laughter": "laugh", "cries": "cry", "crie": "cry", "sang": "sing", "breathe": "breath"}
_OTHER = re.compile(
    r"\[(?P<square>[A-Za-z][A-Za-z_ -]{1,40})\]|\((?P<round>[A-Za-z][A-Za-z_ -]{1,40})\)|\{(?P<curly>[A-Za-z][A-Za-z_ -]{1,40})\}"
    r"|(?<![*\w])\*(?P<star>[A-Za-z][A-Za-z_ -]{1,40})\*(?![*\w])|<(?P<closed>[A-Za-z][A-Za-z_-]{1,40}) ?/>"
)


def _stem(word):
    """What the forms of a word have in common: laugh, laughs, laughing, laughter; giggle, giggles, giggling."""
    word = _SAME.get(word.casefold(), word.casefold())
    for ending in ("ing", "es", "ed", "e", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


_DIRECTION_STEMS = {_stem(word) for word in _DIRECTIONS.split()}


def _is_direction(words):
    """Whether words in brackets are a direction: "laughs", "sighs deeply", not "laugh track"."""
    first, *more = words.split()
    if _stem(first) == "clear" and more == ["throat"]:
        return True
    return _stem(first) in _DIRECTION_STEMS and all(word.endswith("ly") for word in more)


def meant_tag(words, known):
    """The one tag of `known` that "laughs" or "sighs deeply" means, or None."""
    if words in known:
        return words
    same = [tag for tag in known if tag.casefold() == words.casefold().replace(" ", "_")]
    if same:
        return same[0]
    first, *more = words.split()
    if not all(word.endswith("ly") for word in more):
        return None
    found = [tag for tag in known if _stem(tag) == _stem(first)]
    return found[0] if len(found) == 1 else None


@dataclass
class Spelling:
    """A text with its tags as the model knows them, and what was done for that."""

    text: str
    read: Counter = field(default_factory=Counter)  # {(as written, tag): how often}
    unread: Counter = field(
        default_factory=Counter
    )  # what looks like a tag and means none of the known ones: {as written: how often}


def spell_tags(text, known=KNOWN_TAGS):
    """Puts tags that are written in another way as the model knows them, where it is plain what is meant.

    `[laugh]`, `(laughs)`, `{laugh}`, `*laughs*`, `<laugh/>`, `<Laughs>` and `<laughter>` become `<laugh>` if the model knows that. A
    plain word between asterisks is emphasis within a sentence ("you made me *laugh* a lot") and a sound where it stands by itself.

    known: the names of the model's tags
    returns: Spelling
    """
    found = Spelling(text)
    names = {tag.casefold().replace(" ", "_") for tag in known}

    def angle(match):
        name = match[1]
        if name in known:
            return match[0]
        tag = meant_tag(name, known)
        if tag is None:
            return match[0]
        if tag.casefold() != name.casefold():
            found.read[match[0], tag] += 1
        return f"<{tag}>"

    def other(match):
        words = next(words for words in match.groupdict().values() if words)
        if not match["closed"] and not _is_direction(words) and words.casefold().replace(" ", "_") not in names:
            return match[0]
        tag = meant_tag(words, known)
        if match["star"] and not _stands_alone(match, words):
            tag = None
        if tag is None:
            if not match["closed"] or not MARKUP.fullmatch(match[0]):
                found.unread[match[0]] += 1
            return match[0]
        found.read[match[0], tag] += 1
        return f"<{tag}>"

    found.text = _OTHER.sub(other, TAG.sub(angle, text))
    return found


def _stands_alone(match, words):
    """Whether what is between asterisks is a direction and no emphasis: "*laughs*" anywhere, "*laugh*" only outside of a clause."""
    if words.split()[0].casefold().endswith(("s", "ing")):
        return True
    before, after = match.string[: match.start()].rstrip(), match.string[match.end() :].lstrip()
    return (not before or before[-1] in ".!?,;:-–—…>)\"'") and not after.startswith((".", ",", "!", "?"))
