"""A model's description for people: what --list-voices prints."""

from orpheus.common.options import shown_path
from orpheus.text.languages import HEARD


def lines_of(description, samples=None):
    """Lines of text: voices, one a line with the default marked, then tags, language, prompt and how the model was recognised.

    samples: {voice: path of a recording}
    """
    found, samples = description, samples or {}
    for voice in found.voices:
        language = found.language_of(voice)
        more = [
            HEARD[language].capitalize() if language in HEARD else language,
            "default" if voice == found.default_voice else None,
        ]
        said = f" ({', '.join(filter(None, more))})" if any(more) else ""
        yield f"{voice}{said}{f'   {shown_path(samples[voice])}' if voice in samples else ''}"
    if not found.voices and found.default_voice:
        yield f"voice: described in words, by default {found.default_voice!r}"
    elif not found.voices:
        yield "voices: none named; the text is spoken without a name"
    elif found.default_voice is None:
        yield "default: none; the text is spoken without a name"
    tags = [f"<{tag}>" if count is None else f"<{tag}> x{count}" for tag, count in found.tags.items()]
    yield f"tags: {' '.join(tags) or 'none known'}"
    yield f"language: {_language(found.language)}{'' if found.language_stated or not found.language else ', unless it was taught another'}"
    yield f"prompt: {found.prompt}{'; takes reference clips' if found.references else ''}"
    yield f"known by: {found.known_by or 'its config.json'}"
    if found.name:
        seen = "run with its weights" if found.checked else "not run here with its weights"
        yield f"like: {found.name}, {seen}; after {found.source}"


def _language(code):
    """ "German (de)" """
    return "not known" if code is None else f"{HEARD[code].capitalize()} ({code})" if code in HEARD else code
