"""Text that a model of one language cannot read: other writing, or another language of the same writing, guessed by its small words.

Only what is plain is told: a few foreign names or a loanword are no other language.
"""

import re
import unicodedata
from collections import Counter

from orpheus.text.languages import ENGLISH, HEARD
from orpheus.text.tags import TAG

_LATIN = "LATIN"
# Which writing a language has, as Unicode begins the names of its letters. Latin for those of HEARD that are not here.
_WRITINGS = {
    "CJK BOPOMOFO": "zh yue",
    "CJK HIRAGANA KATAKANA": "ja",
    "HANGUL CJK": "ko",
    "CYRILLIC": "ru uk be bg mk kk mn tg tt ba",
    "CYRILLIC LATIN": "sr uz bs az tk",
    "DEVANAGARI": "hi mr ne sa bho mag mai hne brx doi",
    "ARABIC": "ar fa ur ps sd",
    "HEBREW": "he yi",
    "GREEK": "el",
    "THAI": "th",
    "BENGALI": "bn as",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "SINHALA": "si",
    "KHMER": "km",
    "LAO": "lo",
    "MYANMAR": "my",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "ETHIOPIC": "am",
    "TIBETAN": "bo",
}
_WRITING_OF = {code: tuple(names.split()) for names, codes in _WRITINGS.items() for code in codes.split()}
_IN_WORDS = {
    "CJK": "Chinese",
    "HANGUL": "Korean",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "BOPOMOFO": "Chinese",
}

# Small words that are frequent in one language and rare, or no words, in the others here.
_SMALL_WORDS = {
    ENGLISH: "the and of to is was that with for you have not are this from they which what when she he his her were been it my we "
    "would there their your will do don't i'm it's how can",
    "de": "der die das und ist nicht ich ein eine zu den mit sich auf für dem auch wie wir sie haben wird bei noch nach einen aber "
    "dass oder wenn wurde sind von im",
    "fr": "le les et est un une des pas que je vous nous dans pour qui sur avec ce il elle sont mais où très cette c'est j'ai du au "
    "être aux ne plus son",
    "es": "el los las es un una y que en por con para no se lo como pero más está muy yo ella del al todo esto cuando hay qué su "
    "sus era fue",
    "it": "il gli e è un una che di non per con sono come ma più questo della del nel anche molto ho io lei si alla dei era ci "
    "perché",
    "pt": "o os e é um uma que não de do da em para com por mas mais como você eu ela isto muito está são ao dos das foi ele",
    "nl": "de het een en is niet ik van dat op te zijn met voor je hij maar ook aan wat er naar hebben wordt deze die bij heb",
}
_SMALL_WORDS = {code: frozenset(words.split()) for code, words in _SMALL_WORDS.items()}
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_FEWEST_WORDS, _FEWEST_SMALL, _SHARE, _AHEAD = 5, 3, 0.3, 2.5
_OWN = 0.2  # the share of its own letters that makes a text one of another writing than Latin
_MOST_TOLD = 8  # characters


def foreign_to(text, language):
    """What is foreign in a text to a model that speaks `language`: a list of sentences for people.

    text: with or without tags; language: a code. Nothing is said where the language's writing is not known here.
    """
    allowed = _WRITING_OF.get(language) or ((_LATIN,) if language in HEARD else None)
    text = TAG.sub(" ", text)
    if allowed is None:
        return []
    letters = Counter()
    for character in unicodedata.normalize("NFKC", text):
        if unicodedata.category(character) in ("Lo", "Ll", "Lu", "Lt"):
            letters[character] += 1
    other = Counter({c: n for c, n in letters.items() if writing_of(c) not in allowed})
    own = letters.total() - other.total()
    if _LATIN not in allowed and own >= _OWN * letters.total():  # names and abbreviations in it
        other = Counter({c: n for c, n in other.items() if writing_of(c) != _LATIN})
    spoken = _name(language)
    if other:
        return [_about_writing(other, letters.total(), spoken)]
    guess = guessed_language(text) if allowed == (_LATIN,) else None
    if guess and guess != language:
        small = [word for word in _words(text) if word in _SMALL_WORDS[guess] - _SMALL_WORDS.get(language, frozenset())]
        told = ", ".join(dict.fromkeys(small[:4]))
        return [
            f"the text looks {_name(guess)} ({told}), and the model speaks {spoken}: it reads it as if it were that"
        ]
    return []


def _about_writing(other, letters, spoken):
    names = dict.fromkeys(
        _IN_WORDS.get(name, name.title()) for name, _ in Counter(map(writing_of, other.elements())).most_common()
    )
    told = " ".join(c for c, _ in other.most_common(_MOST_TOLD)) + (" ..." if len(other) > _MOST_TOLD else "")
    are = "is" if other.total() == 1 else "are"
    share = "the text is" if other.total() > letters / 2 else f"{other.total()} of the text's {letters} letters {are}"
    return f"{share} in {' and '.join(names)} writing, and the model speaks {spoken}: it cannot say {told}"


def writing_of(character):
    """How Unicode begins a letter's name: LATIN, CJK, CYRILLIC ...; "" for one without a name."""
    return unicodedata.name(character, " ").split(" ")[0].split("-")[0]


def guessed_language(text):
    """The code of the language whose small words a text has, of those in _SMALL_WORDS; None where that is not plain."""
    words = _words(text)
    if len(words) < _FEWEST_WORDS:
        return None
    counts = {code: sum(word in small for word in words) for code, small in _SMALL_WORDS.items()}
    first, second, *_ = sorted(counts.values(), reverse=True)
    best = max(counts, key=counts.get)
    kinds = len({word for word in words if word in _SMALL_WORDS[best]})
    plain = kinds >= _FEWEST_SMALL and first >= _SHARE * len(words) and first - second >= min(_AHEAD, first / 3)
    return best if plain else None


def _words(text):
    return [word.replace("’", "'") for word in _WORD.findall(text.casefold())]


def _name(code):
    return HEARD.get(code, code).capitalize()
