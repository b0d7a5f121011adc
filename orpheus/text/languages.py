"""Languages: their codes, how a user may write them, and which of them a model speaks.

A language is kept as its two- or three-letter code in lower case: "de". What it decides: which full stops end a sentence, what
speech recognition listens for, how words are compared, and how numbers are written out.
"""

import re
from difflib import get_close_matches

from orpheus.common.errors import InputError
from orpheus.common.options import shown

ENGLISH = "en"

# Code and English name of what Whisper hears (`LANGUAGES` in whisper/tokenizer.py of openai/whisper).
HEARD = {
    pair.split(":")[0]: pair.split(":")[1].replace("_", " ")
    for pair in (
        "en:english zh:chinese de:german es:spanish ru:russian ko:korean fr:french ja:japanese pt:portuguese tr:turkish pl:polish "
        "ca:catalan nl:dutch ar:arabic sv:swedish it:italian id:indonesian hi:hindi fi:finnish vi:vietnamese he:hebrew uk:ukrainian "
        "el:greek ms:malay cs:czech ro:romanian da:danish hu:hungarian ta:tamil no:norwegian th:thai ur:urdu hr:croatian "
        "bg:bulgarian lt:lithuanian la:latin mi:maori ml:malayalam cy:welsh sk:slovak te:telugu fa:persian lv:latvian bn:bengali "
        "sr:serbian az:azerbaijani sl:slovenian kn:kannada et:estonian mk:macedonian br:breton eu:basque is:icelandic hy:armenian "
        "ne:nepali mn:mongolian bs:bosnian kk:kazakh sq:albanian sw:swahili gl:galician mr:marathi pa:punjabi si:sinhala km:khmer "
        "sn:shona yo:yoruba so:somali af:afrikaans oc:occitan ka:georgian be:belarusian tg:tajik sd:sindhi gu:gujarati am:amharic "
        "yi:yiddish lo:lao uz:uzbek fo:faroese ht:haitian_creole ps:pashto tk:turkmen nn:nynorsk mt:maltese sa:sanskrit "
        "lb:luxembourgish my:burmese bo:tibetan tl:tagalog mg:malagasy as:assamese tt:tatar haw:hawaiian ln:lingala ha:hausa "
        "ba:bashkir jw:javanese su:sundanese yue:cantonese"
    ).split()
}
_BY_NAME = {name: code for code, name in HEARD.items()} | {
    "castilian": "es",
    "flemish": "nl",
    "mandarin": "zh",
    "farsi": "fa",
}
# Codes of one language; the code of a country (or an old code) that is meant for its language.
_SAME = {"nb": "no", "iw": "he", "in": "id", "ji": "yi", "cmn": "zh", "fil": "tl", "jv": "jw", "mo": "ro"}
_COUNTRIES = {
    "jp": "ja",
    "cn": "zh",
    "tw": "zh",
    "kr": "ko",
    "gr": "el",
    "cz": "cs",
    "dk": "da",
    "ua": "uk",
    "us": "en",
    "gb": "en",
}
_COUNTRIES |= {"at": "de", "mx": "es", "vn": "vi", "ir": "fa", "pk": "ur"}
_SHAPE = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9]+)*")  # of BCP 47, as in pt-BR and zh_Hant


def language_code(value):
    """ "de", "DE", "de-AT", "de_DE.UTF-8" and "German" as "de". Raises InputError for what is no language."""
    text = value.strip().lower().split(".")[0] if isinstance(value, str) else ""
    if text in _BY_NAME:
        return _BY_NAME[text]
    found = _SHAPE.fullmatch(text)
    if found and found[1] not in _COUNTRIES:
        return _SAME.get(found[1], found[1])
    if found:
        near = _COUNTRIES[found[1]]
        raise InputError(f"language {shown(value)} is the code of a country; did you mean {near} ({HEARD[near]})?")
    near = get_close_matches(text, _BY_NAME, 3) if text else []
    hint = f"; did you mean {' or '.join(f'{_BY_NAME[name]} ({name})' for name in near)}?" if near else ""
    raise InputError(f"language must be a code such as en, de, hi or zh, not {shown(value)}{hint}")


def check_heard(language, needed_by):
    """Refuses a language that Whisper does not know. Raises InputError with those whose codes or names are near."""
    if language not in HEARD:
        near = get_close_matches(language, [*HEARD, *_BY_NAME], 4, 0.5)
        near = list(dict.fromkeys(_BY_NAME.get(name, name) for name in near))
        hint = f"near it are {', '.join(f'{code} ({HEARD[code]})' for code in near)}; " if near else ""
        raise InputError(
            f"{needed_by}: faster-whisper does not know the language {language!r}; {hint}it knows {' '.join(sorted(HEARD))}"
        )
