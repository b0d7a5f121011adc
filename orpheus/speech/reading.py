"""A text as a model reads it, and who reads it: names of speakers, descriptions, tags and characters, each oddity with one line."""

import re
import warnings
from collections import Counter

from orpheus.common.errors import InputError, OrpheusWarning
from orpheus.text.cleaning import is_speakable
from orpheus.text.foreign import foreign_to
from orpheus.text.languages import ENGLISH, language_code
from orpheus.text.markup import advice
from orpheus.text.spoken import as_spoken, wants_normalizing
from orpheus.text.tags import MARKUP, SPEAKER_TOKEN, TAG, spell_tags, unknown_tags
from orpheus.text.turns import other_names, split_turns

NO_VOICE = "none"  # asks for a prompt without a speaker
_DESCRIBED = re.compile(r"\s*<description=[\"“”']([^<>]*)[\"“”']>\s*")  # of models whose voice is described in words


def warn(message):
    warnings.warn(message, OrpheusWarning, stacklevel=2)


def default_voice(model, references=()):
    """The voice where none is asked for: with reference clips, theirs alone."""
    if references and not model.description.references:
        warn(
            f"{model.description.name or model.name} is not among the models that are meant to take a voice from clips, which are the "
            "pretrained ones: its own voice may come through"
        )
    return None if references else model.default_voice


def read_turns(model, text, voice, writing, default):
    """[(voice, text as the model reads it)] of a text, in order.

    model: LoadedModel; voice: what was asked for, or None; default: the voice if none is; writing: TextOptions. Raises InputError.
    """
    if not isinstance(text, str):
        raise InputError(f"the text must be a string, not {type(text).__name__}: {text!r:.80}")
    asked = _check_voice(model, voice)
    otherwise = default if voice is None else asked  # of what names no speaker
    found = [(None, text)]
    if model.prompts.format.free_voice:
        described = _DESCRIBED.match(text)
        if described:
            if voice is not None and asked != described[1]:
                raise InputError("the text describes its voice, and --voice another: leave one of them out")
            found = [(described[1], text[described.end() :])]
    elif writing.line_voices == "on":
        found = _turns(model, text, asked if voice is not None else None)
    turns = []
    for speaker, part in found:
        reader = otherwise if speaker is None else speaker
        clean = read_text(model, part, writing, reader)
        if is_speakable(clean):
            turns.append((reader, clean))
    if not turns:
        raise InputError(f"nothing to speak in {text!r:.80}: a text needs a letter, a digit or a tag")
    return turns


def _turns(model, text, asked):
    """The turns of a text; names are left aloud where they contradict the voice that was asked for."""
    turns = split_turns(text, model.voices)
    named = list(dict.fromkeys(speaker for speaker, _ in turns if speaker is not None))
    if not named:
        _warn_of_a_script(model, text)
        return turns
    if asked is not None and named != [asked]:
        others = ", ".join(name for name in named if name != asked)
        warn(
            f"the text names {others}, but --voice is {asked}: the names are read aloud. Leave --voice out to hear each line in its voice"
        )
        return [(None, text)]
    count = Counter(speaker for speaker, _ in turns if speaker is not None)
    lines = ", ".join(f"{name} ({count[name]})" for name in named)
    warn(
        f"lines that begin with a voice's name are spoken by that voice, without the name: {lines}. --line-voices off reads it aloud"
    )
    unknown = [
        name
        for name in other_names("\n".join(part for _, part in turns))
        if name.casefold() not in map(str.casefold, named)
    ]
    if unknown:
        warn(f"lines begin with names that are no voices, and are read aloud by the voice before: {', '.join(unknown)}")
    empty = [speaker for speaker, part in turns if not part.strip()]
    if empty:
        warn(f"a line of {', '.join(dict.fromkeys(empty))} says nothing")
    return [(speaker, part) for speaker, part in turns if part.strip()]


def _warn_of_a_script(model, text):
    """One line where a text looks like a script of a play, and none of its names is a voice."""
    lines = [line for line in text.splitlines() if line.strip()]
    spoken = sum(bool(other_names(line)) for line in lines)
    names = other_names(text)
    if len(names) > 1 and spoken >= len(lines) / 2:
        known = f"the voices are {', '.join(model.voices)}" if model.voices else "the model names none"
        warn(f"lines begin with names, and none is a voice: {', '.join(names)}; they are read aloud ({known})")


def read_reference(model, text, writing):
    """The text of a reference clip as the model reads it. Raises InputError."""
    clean = " ".join(read_text(model, text, writing).split())
    if not is_speakable(clean):
        raise InputError(
            f"reference_text {text!r:.80} has nothing that can be said: write what is said in the clip, word by word"
        )
    return clean


def language_to_speak(model, writing, voice=None):
    """The code of the language that a text is in. model: LoadedModel; writing: TextOptions"""
    if writing.language is not None:
        return language_code(writing.language)
    return model.description.language_of(voice) or ENGLISH


def read_text(model, text, writing, voice=None):
    """A text as the model reads it; an OrpheusWarning says what was left out, changed or not understood."""
    spelling = spell_tags(text, model.description.taught)
    normalize = wants_normalizing(writing.normalize, model.description)
    clean, removed = as_spoken(spelling.text, normalize, language_to_speak(model, writing, voice))
    if not is_speakable(clean):
        return clean
    characters = Counter(name for name in removed if len(name) == 1)
    if characters:
        counts = ", ".join(f"{character!r} x{count}" for character, count in characters.most_common(5))
        warn(f"{characters.total()} characters that cannot be spoken were left out: {counts}")
    for name in dict.fromkeys(name for name in removed if len(name) > 1):
        warn(advice(name))
    _warn_about_tags(model, clean, spelling)
    if writing.language is None and model.description.language_stated:
        for said in foreign_to(clean, model.description.language_of(voice)):
            warn(f"{said}. Take a model that speaks it (docs/models.md), or say --language if this one does")
    return clean


def _warn_about_tags(model, clean, spelling):
    tags, taught = model.description.tags, model.description.taught
    known = f"Known tags: {' '.join(f'<{tag}>' for tag in taught)}" if taught else "The model is said to know none"
    if spelling.read:
        read = ", ".join(f"{written} as <{tag}>" for written, tag in spelling.read)
        warn(f"tags are read as the model knows them: {read}")
    for tag, near in unknown_tags(clean, taught).items():
        if tag in tags:
            times = "once" if tags[tag] == 1 else f"{tags[tag]} times"
            warn(f"the tag <{tag}> was in the recordings only {times}: it may do nothing. {known}")
            continue
        hint = f"did you mean <{near}>? " if near else ""
        warn(f"unknown tag <{tag}> is read as text: {hint}{known}")
    if spelling.unread:
        warn(f"{', '.join(spelling.unread)} is read as text: a sound is written as a tag, <laugh>. {known}")
    markup = dict.fromkeys(match[0] for match in MARKUP.finditer(clean))
    if markup:
        warn(f"HTML is read as text: {' '.join(markup)}. Leave it out")
    speakers = dict.fromkeys(match[0] for match in SPEAKER_TOKEN.finditer(TAG.sub(" ", clean)))
    if speakers and model.prompts.voice_tokens():
        warn(
            f"{' '.join(speakers)} inside a text is read as text: a voice is chosen with --voice, or at the beginning of a line"
        )


def _check_voice(model, voice):
    if voice is None:
        return model.default_voice
    if voice not in model.voices:
        if voice == NO_VOICE:
            return None
        if model.prompts.format.free_voice and isinstance(voice, str) and voice.strip():
            return voice
        known = f"{model.name} knows {', '.join(model.voices)}" if model.voices else f"{model.name} names no voices"
        if model.voices_closed:
            raise InputError(f"unknown voice {voice!r}; {known}")
        warn(f"voice {voice!r} is not among the known ones; {known}. That is fine if the model was trained with it")
    return voice
