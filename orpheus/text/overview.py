"""A model's description for people: what --list-voices prints."""


def lines_of(description):
    """Lines of text: voices, one a line with the default marked, then tags, language, prompt and how the model was recognised."""
    found = description
    for voice in found.voices:
        language = found.languages.get(voice)
        more = [*(["default"] if voice == found.default_voice else []), *([language] if language else [])]
        yield f"{voice} ({', '.join(more)})" if more else voice
    if not found.voices and found.default_voice:
        yield f"voice: described in words, by default {found.default_voice!r}"
    elif not found.voices:
        yield "voices: none named; the text is spoken without a name"
    elif found.default_voice is None:
        yield "default: none; the text is spoken without a name"
    tags = [f"<{tag}>" if count is None else f"<{tag}> x{count}" for tag, count in found.tags.items()]
    yield f"tags: {' '.join(tags) or 'none known'}"
    yield f"language: {found.language or 'not known'}"
    yield f"prompt: {found.prompt}{'; takes reference clips' if found.references else ''}"
    yield f"known by: {found.known_by or 'its config.json'}"
    if found.name:
        seen = "run with its weights" if found.checked else "not run here with its weights"
        yield f"like: {found.name}, {seen}; after {found.source}"
