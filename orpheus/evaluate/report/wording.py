"""Figures as text, the same on screen and in the HTML report."""

from orpheus.evaluate.scoring import FIGURES
from orpheus.text.tags import KNOWN_TAGS

MEANINGS = {
    "wer": "Words that the recogniser heard wrongly, not at all or in addition; its own mistakes count too",
    "cer": "The same by character",
    "clean_rows": "Clips that say nothing twice and leave nothing out",
    "repeated": "Words said twice in a row, of all words",
    "skipped": "Words of the text that were not heard",
    "tags_realised": "Tags such as <laugh> where such a sound is heard",
    "tags_named": "Tags whose sound is also taken for that very tag",
    "false_tags": "False alarms: what the two figures above are to be read against",
    "dnsmos_ovrl": "Opinion that listeners are predicted to have, from 1 (bad) to 5 (excellent)",
    "dnsmos_sig": "The same of the voice alone, 1 to 5",
    "dnsmos_bak": "The same of the background, 1 (very noisy) to 5 (silent)",
    "likeness": "1 is the same voice; about 0.85 and up the same speaker, about 0.6 another",
    "words_per_second": "Pace, without the silence before and after",
    "characters_per_second": "The same by character",
    "leading_silence": "Seconds before the first sound",
    "trailing_silence": "Seconds after the last sound",
    "end_of_speech": "Clips that the model ended by itself, as it should",
    "out_of_range": "Clips that broke off because the model wrote something that is no sound",
    "max_new_tokens": "Clips that were cut off at the longest length allowed",
}
_OPINIONS = {1: "bad", 2: "poor", 3: "fair", 4: "good", 5: "excellent"}
_FEW_CLIPS = 20
AIMS = {"lower": "lower is better", "higher": "higher is better", None: ""}


def number(value, unit="", signed=False):
    """A figure of at most three digits or so, without its unit: 0.0456 of "%" is "4.6", 1 is "100", 17.34 is "17.3"."""
    value = 100 * value if unit == "%" else value
    digits = 0 if abs(value) >= 99.95 else 1 if unit == "%" or abs(value) >= 9.995 else 2
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    return text if float(text) else "0"


def shown(figure, estimate, signed=False):
    """A figure with its interval as text: "4.2 % (2.9 to 5.6)", a difference "+4.2 points (...)"; "-" if no clip has it."""
    value, interval = parts(figure, estimate, signed)
    return f"{value} ({interval})" if interval else value


def parts(figure, estimate, signed=False):
    """(value with its unit, interval) as text: ("4.2 %", "2.9 to 5.6"); ("-", "") if no clip has the figure.

    A single clip has no interval: ("4.2 %", "1 clip").
    """
    if not estimate or estimate["value"] is None:
        return "-", ""
    value, low, high = (number(estimate[key], figure.unit, signed) for key in ("value", "low", "high"))
    unit = "points" if signed and figure.unit == "%" else figure.unit
    interval = "1 clip" if estimate.get("rows") == 1 else f"{low} to {high}"
    return f"{value} {unit}".rstrip(), interval


def verdict(figure, estimate):
    """ "better", "worse", or "" if the interval includes 0."""
    if not estimate or estimate["value"] is None or not figure.better or estimate["low"] <= 0 <= estimate["high"]:
        return ""
    return "better" if (estimate["value"] > 0) == (figure.better == "higher") else "worse"


def present(report):
    """The figures that any system has."""
    return [f for f in FIGURES if any(f.name in system["figures"] for system in report["systems"])]


def clip_count(count):
    """ "1 clip", "10 clips" """
    return f"{count:,} clip" + "s" * (count != 1)


# --- in plain English --------------------------------------------------------------------------------------------------


def summary(report):
    """[(name, sentences)]: what the figures say of each system, then of each difference, in plain English.

    What a figure means is said where it comes first.
    """
    systems = report["systems"]
    found = [(system["name"], _system_words(system, system is systems[0])) for system in systems]
    return found + [(name, _difference_words(e, report)) for name, e in report["differences"].items()]


def _system_words(system, first):
    figures, count = system["figures"], len(system["rows"])
    if not count:
        return "No clip was judged."
    words = [
        _words_heard(figures),
        _naturalness(figures, first),
        _likeness(figures, first),
        _tags_heard(system),
        _ends(figures),
    ]
    words = [sentence for sentence in words if sentence]
    if not {"wer", "dnsmos_ovrl", "likeness"} & set(figures):
        words.append("No judge of words, sound or voice has listened: see the pace and the silences.")
    elif count < _FEW_CLIPS and first:
        words.append(f"Only {clip_count(count)}: small differences cannot be told.")
    return " ".join(words)


def _words_heard(figures):
    if "wer" not in figures:
        return ""
    rate = figures["wer"]["value"]
    if not rate:
        return "The recogniser understood every word."
    level = (
        "very easy to understand" if rate <= 0.05 else
        "mostly easy to understand" if rate <= 0.15 else
        "hard to understand in places" if rate <= 0.4 else
        "hard to understand"
    )  # fmt: skip
    return f"The recogniser misheard {number(rate, '%')} % of the words: {level}."


def _naturalness(figures, first):
    if "dnsmos_ovrl" not in figures:
        return ""
    value = figures["dnsmos_ovrl"]["value"]
    opinion = _OPINIONS[min(5, max(1, round(value)))]
    scale = " on DNSMOS' scale from 1 (bad) to 5 (excellent)" if first else " by DNSMOS"
    return f"It sounds {opinion}, {number(value)}{scale}."


def _likeness(figures, first):
    if "likeness" not in figures:
        return ""
    value = round(figures["likeness"]["value"], 2)  # as it is shown
    how = "matches" if value >= 0.85 else "comes close to" if value >= 0.75 else "differs from"
    meaning = "; about 0.85 and up is the same speaker" if first else ""
    return f"The voice {how} the reference recordings (likeness {number(value)}{meaning})."


def _tags_heard(system):
    counts = [c for tag, c in system["tags"].items() if tag in KNOWN_TAGS]
    total, heard = (sum(c[key] for c in counts) for key in ("count", "realised"))
    if not total:
        return ""
    if total == 1:
        return f"Its one tag was {'audible' if heard else 'not heard'}."
    return f"All {total} tags were audible." if heard == total else f"{heard} of {total} tags were audible."


def _ends(figures):
    if "end_of_speech" not in figures:
        return ""
    e = figures["end_of_speech"]
    cut = round(e["rows"] * (1 - e["value"]))
    return f"{cut} of {clip_count(e['rows'])} broke off before the end." if cut else "No clip broke off."


def _difference_words(found, report):
    judged = [f for f in present(report) if f.better and f.name in found]
    by_word = {"better": [], "worse": [], "": []}
    for f in judged:
        word = verdict(f, found[f.name])
        by_word[word].append(f.title if f.title.startswith("DNSMOS") else f.title[0].lower() + f.title[1:])
    if not judged:
        return "The two have no figure in common."
    clauses = [f"{word} in {_listed(by_word[word])}" for word in ("better", "worse") if by_word[word]]
    if not clauses:
        return f"No difference that these clips could show, in any of {len(judged)} figures."
    same, clear = len(by_word[""]), "; ".join(clauses)
    return (
        clear[0].upper() + clear[1:] + (f"; no clear difference in {same} other{'s' * (same != 1)}." if same else ".")
    )


def _listed(names):
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def detector_words(card):
    """One sentence on how far the tag detector can be trusted."""
    if not card:
        return ""
    test = card["unheard_voices"]
    words = (
        f"Tag detector, on synthesised sounds of voices it had not heard ({test['clips']:,} tags): hears {test['heard']:.1%}, names "
        f"{test['named']:.1%} correctly; hears one in {test['false_alarms']:.1%} of {test['clips_without_tag']:,} clips without a tag"
    )
    if "demo_speaker" in card:
        other = card["demo_speaker"]
        words += f". On the recordings of assets/demo_speaker: {other['heard']:.1%} of {other['clips']} tags, false alarms {other['false_alarms']:.1%}"
    return words + "."
