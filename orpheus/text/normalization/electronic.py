"""E-mail and web addresses, files, network addresses, names with @ and #."""

import re

from orpheus.text.normalization.numbers import say_cardinal, say_digits, say_number
from orpheus.text.normalization.patterns import one_of

_NAMES = {
    **{"@": "at", ".": "dot", "/": "slash", "-": "dash", "_": "underscore", ":": "colon", "?": "question mark"},
    **{"=": "equals", "&": "and", "#": "hash", "+": "plus", "%": "percent", "~": "tilde", "\\": "backslash"},
    **{"*": "star", "!": "exclamation mark", "$": "dollar", "'": "apostrophe", ",": "comma", ";": "semicolon"},
}
_DOMAINS = (
    "com org net edu gov mil int io dev ai info biz app xyz online site store shop blog cloud tech tv fm gg ly me co uk us de "
    "fr it es nl be ch at eu ca au nz jp cn in br ru pl se no dk fi ie pt gr cz hu mx za kr sg hk tw il tr ua"
).split()
_FILES = (
    "html htm php css js ts json xml yaml yml toml csv tsv txt md pdf doc docx xls xlsx ppt pptx zip gz tar exe py ipynb java cpp "
    "rs go rb sh bat png jpg jpeg gif svg webp bmp mp3 mp4 wav flac ogg m4a mkv avi mov epub log cfg ini"
).split()
_SPELLED = {
    "html": "H T M L",
    "php": "P H P",
    "css": "C S S",
    "js": "J S",
    "json": "json",
    "xml": "X M L",
    "pdf": "P D F",
}
_SPELLED |= {
    "csv": "C S V",
    "tsv": "T S V",
    "txt": "text",
    "jpg": "jpeg",
    "png": "P N G",
    "svg": "S V G",
    "www": "w w w",
}
_SPELLED |= {
    "uk": "U K",
    "us": "U S",
    "eu": "E U",
    "tv": "T V",
    "md": "M D",
    "exe": "E X E",
    "wav": "wav",
    "gif": "gif",
}
_END_MARKS = ".,;:!?)'\"]}>*"


def _said(text):
    words = []
    for part in re.findall(r"[^\W\d_]+|\d+|[^\w\s]|_", text):
        if part.isdecimal():
            words.append(say_cardinal(part) if len(part) < 3 else say_digits(part))
        else:
            words.append(_SPELLED.get(part.lower(), _NAMES.get(part, part)))
    return " ".join(words)


def _address(match):
    """E-mail or web address: letters stay words, marks are named; "https://" and a last slash are not said."""
    text = match[0].rstrip(_END_MARKS)
    rest = match[0][len(text) :]
    plain = re.sub(r"^(?:https?|ftp)://", "", text).rstrip("/")
    return (_said(plain) if plain else text) + rest


def _file_address(match):
    text = match[0].rstrip(_END_MARKS)
    return _said(text) + match[0][len(text) :]


def _host(match):
    """ "localhost:8080/api" and "192.168.0.1:80"."""
    host, port, path = match.groups()
    host = " dot ".join(map(say_digits, host.split("."))) if host[0].isdecimal() else host
    mark = path[len(path.rstrip(_END_MARKS)) :] if path else ""
    words = host + (f" colon {_port(port)}" if port else "")
    return words + (f" {_said(path[: len(path) - len(mark)].rstrip('/'))}".rstrip() if path else "") + mark


def _port(digits):
    """ "8080" -> "eighty eighty", "3000" -> "three thousand"."""
    if len(digits) == 4 and digits[1] != "0" and int(digits[2:]) > 9:
        return f"{say_number(int(digits[:2]))} {say_number(int(digits[2:]))}"
    if len(digits) == 4 and digits[2:] == "80":
        return f"{say_number(int(digits[:2]))} eighty"
    return say_cardinal(digits)


def _in_dots(match):
    return match[0].replace(".", " dot ")


RULES = [
    (r"(?<![\w.+%&-])[\w.+%&-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}(?:/[\w./?=&%-]{0,200})?", _address),
    (r"\bfile:/{2}\S+", _file_address),
    (
        r"\b(?:https?|ftp)://\S+|\bwww\.\S+|(?<![\w.@-])(?:[\w-]{1,63}\.){1,6}"
        rf"(?:{one_of(_DOMAINS)})\b(?![\w-]|\.\w)(?:[:/?]\S*)?",
        _address,
    ),
    (r"\b(localhost|(?:\d{1,3}\.){3}\d{1,3})(?![.\d])(?::(\d{2,5}))?(/\S*)?(?<=[\w/])", _host),
    (rf"(?<![\w./@-])(?:[\w-]{{1,63}}\.){{1,3}}(?:{one_of(_FILES)})\b(?![\w-]|\.\w)", _file_address),
    (r"(?<![\w.@-])[a-z][a-z\d]{2,40}(?:\.[a-z][a-z\d]{2,40}){1,3}(?![\w-]|\.\w)", _in_dots),
    (r"(?<!\S)@(?=\w)", lambda match: "at "),
    (r"(?<!\S)#(?=[^\W\d])", lambda match: "hashtag "),
    (r"\b([A-G])#(?!\w)", lambda match: f"{match[1]} sharp"),
]
