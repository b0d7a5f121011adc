"""Figures as text, the same on screen and in the HTML report."""

from orpheus.evaluate.scoring import FIGURES


def shown(figure, estimate, signed=False):
    """A figure with its interval as text: "4.2 % (2.9 to 5.6)"; "-" if no clip has it."""
    if not estimate or estimate["value"] is None:
        return "-"
    scale, digits = (100, 1) if figure.unit == "%" else (1, 2)
    sign = "+" if signed else ""
    value, low, high = (scale * estimate[key] for key in ("value", "low", "high"))
    unit = f" {figure.unit}" if figure.unit else ""
    return f"{value:{sign}.{digits}f}{unit} ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"


def verdict(figure, estimate):
    """ "better", "worse", or "" if the interval includes 0."""
    if not estimate or estimate["value"] is None or not figure.better or estimate["low"] <= 0 <= estimate["high"]:
        return ""
    return "better" if (estimate["value"] > 0) == (figure.better == "higher") else "worse"


def present(report):
    """The figures that any system has."""
    return [f for f in FIGURES if any(f.name in system["figures"] for system in report["systems"])]


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
