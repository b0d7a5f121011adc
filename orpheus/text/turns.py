"""Who says what: a text whose lines begin with the names of voices, as in a script of a play."""

import re

_ANY_NAME = re.compile(r"^[ \t]*([^\W\d_][\w .'()-]{0,30}?)[ \t]*[:：](?=\s)", re.M)


def split_turns(text, voices):
    """[(voice or None, text)] in order: "anna: Hi.\\nbob: Hello." -> [("anna", "Hi."), ("bob", "Hello.")].

    A turn begins with a line that begins with a voice's name and a colon, in any case, or with its token, `<spk_anna>`, and goes on to
    the next such line. What stands before the first has the voice None; without any, that is all of the text.
    """
    if not voices:
        return [(None, text)]
    spelt = {voice.casefold(): voice for voice in voices}
    names = "|".join(re.escape(voice) for voice in sorted(voices, key=len, reverse=True))
    begins = re.compile(rf"^[ \t]*(?:({names})[ \t]*[:：]|<spk_({names})>)[ \t]*", re.M | re.I)
    turns, voice, start = [], None, 0
    for match in begins.finditer(text):
        turns.append((voice, text[start : match.start()]))
        voice, start = spelt[(match[1] or match[2]).casefold()], match.end()
    turns.append((voice, text[start:]))
    return (
        turns
        if voice is None
        else [(voice, part.strip()) for voice, part in turns if voice is not None or part.strip()]
    )


def other_names(text):
    """Names that lines of `text` begin with, whether or not a voice is called so: "carol: Me too." -> ["carol"]."""
    return list(dict.fromkeys(_ANY_NAME.findall(text)))
