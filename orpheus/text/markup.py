"""SSML, HTML and Markdown read as text: what they mean is kept where speech has it, and what is lost is named."""

import re

_SSML = set(
    "speak break prosody emphasis phoneme say-as sub voice audio lang mark s p w media par seq desc lexicon metadata".split()
)
_HTML = set(
    "a abbr b i u em strong span div br hr h1 h2 h3 h4 h5 h6 ul ol li dl dt dd table thead tbody tr td th img code pre kbd samp "
    "blockquote small big sup script style html head body title font center del ins q cite section article header footer main "
    "nav figure figcaption label button iframe meta link wbr".split()
)
_PARAGRAPHS = set(
    "p div h1 h2 h3 h4 h5 h6 li ul ol dl dt dd tr table hr blockquote pre section article header footer title".split()
)
_EMPTY = {"br", "hr", "img", "break", "wbr"}  # they have no closing tag
_INSTEAD = {  # what SSML asks for and a model of this family is not told, and what to do about it
    "prosody": "pace and pitch are the voice's own, so choose another voice",
    "emphasis": "stress comes from the sentence, so write one that stresses the word",
    "phoneme": "write the word as it sounds",
    "say-as": "write the words as they are to be said",
    "voice": "speak each voice's text by itself",
    "audio": "join recordings to the speech afterwards",
    "lang": "speak each language's text by itself",
    "mark": "time stamps are not written",
}
_SPELLED = re.compile("characters|spell-out|verbatim|digits")
_LONG_BREAK = 0.4  # seconds from which a break is a paragraph's pause rather than a comma's

_VALUE = r"(?:\"[^\"<>]{0,300}\"|'[^'<>]{0,300}'|[^\s\"'<>=]{1,100})"
_TAG = re.compile(
    r"<(/?)([A-Za-z][A-Za-z\d]{0,20}(?:[:-][A-Za-z\d-]{1,30})?)"
    rf"((?:\s{{1,9}}[\w:.-]{{1,40}}(?:\s?=\s?{_VALUE}){{1}}){{0,10}})\s{{0,9}}(/?)>"
)
_WITH_ALIAS = re.compile(
    r"<sub\s{1,9}alias\s?=\s?(?:\"([^\"<>]{0,300})\"|'([^'<>]{0,300})')\s?>[^<>]{0,300}</sub>", re.I
)
_BREAK = re.compile(r"[ \t]{0,9}<break((?:\s[^<>]{0,200})?)/?>", re.I)
_SAID_AS = re.compile(
    r"<say-as\s[^<>]{0,200}interpret-as\s?=\s?[\"']?([\w-]{1,30})[^<>]{0,200}>([^<>]{0,300})</say-as>", re.I
)


def _without(text, opening, closing):
    """The text without what stands from each opening to its closing."""
    parts, end = [], 0
    while (start := text.find(opening, end)) >= 0 and (stop := text.find(closing, start)) >= 0:
        parts += [text[end:start], " "]
        end = stop + len(closing)
    return "".join([*parts, text[end:]])


def _pause(match):
    """What a <break/> becomes: nothing, a comma or a paragraph's end."""
    attributes = match[1]
    time = re.search(r"time\s?=\s?[\"']?\+?(\d{0,6}(?:\.\d{1,6})?)(ms|s)", attributes)
    strength = re.search(r"strength\s?=\s?[\"']?([\w-]+)", attributes)
    if time and time[1]:
        seconds = float(time[1]) / (1000 if time[2] == "ms" else 1)
    else:
        named = {"none": 0, "x-weak": 0, "strong": 1, "x-strong": 1}
        seconds = named.get(strength[1] if strength else "medium", _LONG_BREAK / 2)
    if seconds >= _LONG_BREAK:
        return "\n\n"
    spoken_before = match.string[max(0, match.start() - 10) : match.start()].rstrip()[-1:]
    return ", " if seconds and spoken_before.isalnum() else " "


def plain_markup(text):
    """Takes SSML's and HTML's tags out of a text; emotion tags and all others stay.

    A break becomes a comma or a paragraph's end, <sub> its alias, <say-as> of characters or digits one after the other.
    A name such as <p> alone, without attributes and never closed, is no markup.
    returns: (text, names of what is not followed, such as "<prosody>", as often as they stand there)
    """
    if "<" not in text:
        return text, []
    lost = []
    for opening, closing in (
        ("<!--", "-->"),
        ("<?xml", "?>"),
        ("<!DOCTYPE", ">"),
        ("<script", "</script>"),
        ("<style", "</style>"),
    ):
        text = _without(text, opening, closing)
    text = _WITH_ALIAS.sub(lambda match: match[1] or match[2] or "", text)
    text = _SAID_AS.sub(
        lambda match: " ".join(filter(str.isalnum, match[2])) if _SPELLED.fullmatch(match[1].lower()) else match[0],
        text,
    )
    text = _BREAK.sub(_pause, text)
    closed = {match[2].lower() for match in _TAG.finditer(text) if match[1]}

    def replace(match):
        closing, name, attributes, empty = match[1], match[2].lower(), match[3], match[4]
        vendors = name.partition(":")[0] in ("amazon", "mstts", "google")
        if not (name in _SSML or name in _HTML or vendors):
            return match[0]
        if not (closing or attributes or empty or name in closed or name in _EMPTY):
            return match[0]
        if not closing and (name in _INSTEAD or vendors):
            lost.append(f"<{name}>")
        return (
            "\n\n"
            if name in _PARAGRAPHS
            else "\n"
            if name == "br"
            else " "
            if name in ("s", "td", "th", "speak")
            else ""
        )

    return _TAG.sub(replace, text), lost


def advice(name):
    """One line on a name that `plain_markup` or `plain_markdown` listed: what was done, and what to do instead."""
    if name.startswith("<"):
        instead = _INSTEAD.get(name.strip("<>"))
        return f"{name} is not followed, only its text is spoken" + (f": {instead}" if instead else "")
    return f"{name} is read as plain text; a backslash before its sign keeps the sign"


# --- Markdown --------------------------------------------------------------------------------------------------------

_LINE_SIGNS = re.compile(
    r"(?m)^[ \t]{0,12}(?:#{1,6} |> ?|[-*+•‣▪] |\d{1,3}[.)] |```|~~~|\||[-=*_]{2}|\[)|\|[ \t]{0,9}:?-"
)
_FENCE = re.compile(r"[ \t]{0,12}(?:```|~~~)[\w+-]{0,30}[ \t]*$")
_RULE = re.compile(r"[ \t]{0,12}(?:(?:-[ \t]{0,3}){3,}|(?:\*[ \t]{0,3}){3,}|(?:_[ \t]{0,3}){3,}|={3,}[ \t]*)$")
_HEADING = re.compile(r"[ \t]{0,3}(?:#{1,6}[ \t]{1,9}){1,6}(?=[^\s#\d]|\d+[.)]?[ \t][A-Z])")
_QUOTE = re.compile(r"[ \t]{0,3}(?:>[ \t]{0,3}){1,9}(?=[^\s\d>])")
_BULLET = re.compile(r"[ \t]{0,12}([-*+•‣▪])[ \t]{1,9}(?:\[[ xX]\][ \t]{1,9})?(?=\S)")
_NUMBERED = re.compile(r"[ \t]{0,12}\d{1,3}[.)][ \t]{1,9}(?=\S)")
_SEPARATOR = re.compile(r"[ \t]*\|?(?:[ \t]{0,9}:?-{1,60}:?[ \t]{0,9}\|){1,40}(?:[ \t]{0,9}:?-{1,60}:?[ \t]{0,9})?$")
_DEFINITION = re.compile(r"[ \t]{0,3}\[[^\[\]]{1,100}\]:[ \t]{1,9}\S+")

_ESCAPED = {
    sign: chr(0xE000 + place) for place, sign in enumerate("*_`#~[]>-+.")
}  # private characters: no text has any here
_ESCAPE = re.compile(r"\\([*_`#~\[\]>+-])")
_UNESCAPE = {ord(private): sign for sign, private in _ESCAPED.items()}
# Sounds and gestures between asterisks are no emphasis but what the speaker does.
_ACTION = re.compile(
    r"(?:laugh|giggl|chuckl|sigh|gasp|yawn|cough|sniff|groan|moan|cr(?:y|ies)|sob|scream|shout|whisper|clear|gulp|snort|hum|breath|"
    r"inhal|exhal|paus|smil|grin|nod|shrug|wink|sing|whistl|hiccup|sneez|snor|hiss|growl|grunt|mutter|mumbl|clap|kiss)[a-z]*\b"
    r"[^*.!?]{0,40}",
    re.I,
)
_DUNDER = re.compile(  # names of Python, of which people speak
    "(?:add|all|call|class|contains|del|dict|doc|enter|eq|exit|file|future|getattr|getitem|hash|init|iter|len|main|name|new|next|"
    "repr|setattr|setitem|slots|str|sub|version)"
)
_CODE = re.compile(r"(?<!`)`([^`\n]{1,300})`(?!`)")
_LINK = re.compile(
    r"!?\[([^\[\]\n]{0,300})\]\(<?([^\s()<>]{1,500}(?:\([^\s()<>]{0,100}\)[^\s()<>]{0,100})?)>?"
    r"(?:[ ]{1,3}(?:\"[^\"\n]{0,200}\"|'[^'\n]{0,200}'))?\)"
)
_REFERENCE = re.compile(r"\[([^\[\]\n]{1,300})\]\[[^\[\]\n]{0,100}\]")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^\s<>]{1,500}|[\w.+-]{1,64}@[\w.-]{1,200})>")
_FOOTNOTE = re.compile(r"\[\^\w{1,20}\]:?")
_STARS = re.compile(
    r"(?<![\w*])(\*{1,3})(?=[^\s*])([^*]{0,400}[^\s*])\1(?![\w*])|(?<![\w*])(\*\*)(?=[^\s*])([^*]{0,400}[^\s*])\*\*(?!\*)"
)
_UNDERSCORES = re.compile(r"(?<![\w<_])(_{1,3})(?=[^\s_])([^_]{0,400}[^\s_])\1(?![\w>_])")
_STRUCK = re.compile(r"~~(?=[^\s~])([^~]{1,400})(?<=\S)~~")


def _ended(line, mark):
    return line if not line.strip() or line.rstrip()[-1] in ".!?:;,…-" else line.rstrip() + mark


def _lists(lines, found):
    """Items of a list as clauses: "- milk", "- eggs" -> "milk,", "eggs."."""
    kinds = ["bullet" if _BULLET.match(line) else "number" if _NUMBERED.match(line) else "" for line in lines]
    items = [index for index, kind in enumerate(kinds) if kind]
    for place, index in enumerate(items):
        following = items[place + 1] if place + 1 < len(items) else len(lines)
        end = index
        while end + 1 < following and lines[end + 1].strip():
            end += 1
        previous = place and not any(
            line.strip() for line in lines[items[place - 1] + 1 : index][-3:] if line[:1] not in " \t"
        )
        more = following < len(lines) and following - end <= 2
        match = _BULLET.match(lines[index])
        alone = not (previous or more)
        if alone and not (match and lines[index][match.end()].isalpha() and match[1] != "+"):
            continue
        if match:
            lines[index] = lines[index][match.end() :]
            found.append("Markdown list")
        if not alone:
            lines[end] = _ended(lines[end], "," if more and following == end + 1 else ".")
    return lines


def _blocks(text, found):
    """Line by line: headings, lists, quotations, tables, rules, fences."""
    lines, table, references = text.split("\n"), False, False
    for index, line in enumerate(lines):
        if "|" in line and _SEPARATOR.match(line):
            if index and "|" in lines[index - 1]:
                lines[index - 1] = _row(lines[index - 1])
            lines[index], table = "", True
            found.append("Markdown table")
        elif table and "|" in line:
            lines[index] = _row(line)
        elif _FENCE.match(line) or _RULE.match(line):
            lines[index], table = "", False
            found.append("Markdown code" if _FENCE.match(line) else "Markdown rule")
        elif match := _HEADING.match(line):
            lines[index] = f"\n{line[match.end() :].rstrip('# ')}\n"
            found.append("Markdown heading")
        elif match := _QUOTE.match(line):
            lines[index] = line[match.end() :]
            found.append("Markdown quotation")
        elif _DEFINITION.match(line):
            lines[index], references = "", True
        table = table and bool(line.strip())
    return "\n".join(_lists(lines, found)), references


def _row(line):
    cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
    return _ended(", ".join(cell for cell in cells if cell), ".")


def _linked(match, found):
    if not re.search("[./#:@]", match[2]):
        return match[0]
    found.append("Markdown link")
    return match[1]


def _starred(match, found):
    content = match[2] or match[4]
    if "\n\n" in content or ((match[1] or match[3]) == "*" and _ACTION.fullmatch(content)):
        return match[0]
    found.append("Markdown emphasis")
    return content


def _underscored(match, found):
    if "\n\n" in match[2] or (len(match[1]) > 1 and _DUNDER.fullmatch(match[2])):
        return match[0]
    found.append("Markdown emphasis")
    return match[2]


def plain_markdown(text):
    """Reads simple Markdown as text: headings, emphasis, links, lists, quotations, tables, code.

    Sounds between asterisks (*laughs*), names with underscores and signs of arithmetic stay. A backslash keeps a sign.
    text: without private characters
    returns: (text, what was found, such as "Markdown heading", as often as it stands there)
    """
    found, references = [], False
    text = _ESCAPE.sub(lambda match: _ESCAPED[match[1]], text)
    if _LINE_SIGNS.search(text):
        text, references = _blocks(text, found)
    if "[" in text:
        text = _LINK.sub(lambda match: _linked(match, found), text)
        text, count = _FOOTNOTE.subn("", text)
        found += ["Markdown footnote"] * count
        text = _REFERENCE.sub(r"\1", text) if references else text
    if "`" in text:
        text, count = _CODE.subn(r"\1", text)
        found += ["Markdown code"] * count
    text = _AUTOLINK.sub(r"\1", text)
    for _ in range(3):  # emphasis in emphasis
        before = text
        if "*" in text:
            text = _STARS.sub(lambda match: _starred(match, found), text)
        if "_" in text:
            text = _UNDERSCORES.sub(lambda match: _underscored(match, found), text)
        if text == before:
            break
    text, count = _STRUCK.subn(r"\1", text)
    found += ["Markdown emphasis"] * count
    return text.translate(_UNESCAPE), found
