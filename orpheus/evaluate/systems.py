"""What is judged: sentences spoken by a model, or recordings with their transcripts."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from orpheus.common.audio import decode_audio, to_mono_24khz
from orpheus.common.errors import InputError
from orpheus.data.naming import without_names
from orpheus.data.options import DataOptions
from orpheus.data.sources.folders import open_source
from orpheus.data.sources.tables import read_jsonl, read_text
from orpheus.text.cleaning import clean_text, is_speakable
from orpheus.text.tags import spell_tags

_SERVED = re.compile(r"(?:(.+?)@)?(https?://.*)", re.IGNORECASE)


@dataclass(frozen=True)
class Sentence:
    """One thing to say."""

    text: str
    voice: str | None = None
    kind: str | None = None  # a group in the report
    spoken: str | None = None  # the words that should be heard, if written differently: "$5" is "five dollars"


@dataclass(frozen=True, eq=False)  # comparing arrays gives no single bool
class Clip:
    """One recording to be judged."""

    text: str
    audio: np.ndarray  # float32 (samples,) at 24 kHz
    voice: str | None = None
    kind: str | None = None
    take: int = 0
    finish_reason: str | None = None  # None if unknown: a recording
    spoken: str | None = None  # as in Sentence

    @property
    def words(self):
        """What should be heard."""
        return self.spoken or self.text


@dataclass(frozen=True)
class System:
    """A name and where its speech comes from: a folder of recordings, a model with or without an adapter, or a server with a model."""

    name: str
    recordings: Path | None = None
    model: str | None = None
    lora: str = "none"
    url: str | None = None  # of the server that runs the model


# --- sentences -------------------------------------------------------------------------------------------------------


def read_sentences(path):
    """List of Sentence from a .txt (one per line) or .jsonl file. Raises InputError with file and line."""
    path, found = Path(path).expanduser(), []
    if path.suffix.lower() == ".jsonl":
        for line in read_jsonl(path)[1]:
            if line.problem or not isinstance(line.values.get("text"), str):
                raise InputError(f"{line.where}: {line.problem or 'there is no text'}")
            more = {name: line.values.get(name) for name in ("voice", "kind", "spoken")}
            found.append((line.where, Sentence(line.values["text"], **more)))
    else:
        lines = read_text(path).splitlines()
        found = [(f"{path.name}:{n}", Sentence(line.strip())) for n, line in enumerate(lines, 1) if line.strip()]
    for where, sentence in found:
        if not is_speakable(sentence.text):
            raise InputError(f"{where}: nothing to speak in {sentence.text!r:.60}")
    if not found:
        raise InputError(f"{path} holds no sentences")
    return [sentence for _, sentence in found]


def spread(sentences, limit):
    """`limit` of the sentences, spread evenly over the list; all if it is None."""
    if limit is None or limit >= len(sentences):
        return list(sentences)
    return [sentences[n * len(sentences) // limit] for n in range(limit)]


# --- what a SPEC means -----------------------------------------------------------------------------------------------


def parse_system(argument):
    """ "base=demo", "tuned=demo+lora_model", "original=FOLDER" to a System. Raises InputError."""
    name, equals, spec = argument.partition("=")
    if not equals or not name.strip() or not spec.strip():
        raise InputError(
            f"{argument!r} is not NAME=WHAT, such as base=demo, tuned=demo+lora_model, served=demo@http://localhost:8080, "
            "original=FOLDER of recordings"
        )
    return replace(system_of(spec.strip()), name=name.strip())


def system_of(spec):
    """What a SPEC is: a folder of recordings, MODEL, MODEL+ADAPTER, an adapter's folder alone, MODEL@URL, or URL alone."""
    if served := _SERVED.fullmatch(spec):
        return System(spec, model=served[1] or "auto", url=served[2])
    folder = Path(spec).expanduser()
    if folder.is_dir():
        if (folder / "adapter_config.json").is_file():
            return System(spec, model="auto", lora=str(folder))
        if (folder / "config.json").is_file():
            return System(spec, model=str(folder))
        return System(spec, recordings=folder)
    if folder.is_file():
        return System(spec, recordings=folder)
    model, plus, lora = spec.partition("+")
    if plus and not (model and lora):
        raise InputError(f"{spec!r}: MODEL+ADAPTER needs both names, as in demo+lora_model")
    return System(spec, model=model, lora=lora or "none")


# --- clips -----------------------------------------------------------------------------------------------------------


def read_clips(folder):
    """List of Clip from any source that `--dataset` takes. Raises InputError if an entry cannot be used."""
    options, clips = DataOptions(dataset=str(folder)), []
    for entry in without_names(open_source(options).entries, options)[0]:
        if entry.problem or not (entry.text or "").strip():
            raise InputError(f"{folder}, {entry.where}: {entry.problem or 'there is no transcript'}")
        audio = to_mono_24khz(*decode_audio(entry.audio.load(), entry.where))
        clips.append(Clip(clean_text(spell_tags(entry.text).text)[0], audio, entry.speaker))
    return clips


def speak(tts, sentences, voice=None, takes=1, seed=0, progress=False, **options):
    """Speaks the sentences with an OrpheusInference, take by take with seed, seed + 1 ...; yields Clip."""
    for take in range(takes):
        for voices in dict.fromkeys(sentence.voice or voice for sentence in sentences):
            of_voice = [sentence for sentence in sentences if (sentence.voice or voice) == voices]
            spoken = tts.synthesize_all([s.text for s in of_voice], voices, progress, seed=seed + take, **options)
            for sentence, speech in zip(of_voice, spoken, strict=True):
                yield Clip(
                    *(
                        speech.text,
                        speech.audio,
                        speech.voice,
                        sentence.kind,
                        take,
                        speech.finish_reason,
                        sentence.spoken,
                    )
                )
