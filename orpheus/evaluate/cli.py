"""Measures speech: speaks a list of sentences, or takes recordings, and judges them.

    python -m orpheus.evaluate                            what inference.py would speak with
    python -m orpheus.evaluate --voice theo --takes 3     narrower intervals
    python -m orpheus.evaluate --sentences my_lines.txt --reference my_recordings
    python -m orpheus.evaluate --recordings my_recordings    recordings with their transcripts
    python -m orpheus.evaluate --url http://localhost:8080    what another program's server speaks
    python -m orpheus.evaluate --compare base=demo tuned=demo+lora_model

Reports words and skips (faster-whisper), naturalness (DNSMOS), likeness of the voice (Resemblyzer), audible tags, pace,
silences and how clips ended: as a table here, and as report.json and report.html in --out. docs/evaluate.md says what
each figure means.
"""

import sys
import warnings
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from orpheus.common.command import parse, run, say
from orpheus.common.errors import InputError, OrpheusWarning
from orpheus.common.places import Place, check_places
from orpheus.engines.options import ENGINES, EndpointOptions, SamplingOptions
from orpheus.evaluate.options import DEMO_REFERENCE, METRICS, OUT, JudgeOptions, ListOptions
from orpheus.speech.options import LongTextOptions, RetryOptions, TextOptions
from orpheus.text.languages import ENGLISH, language_code

COMMON = {  # what --help shows
    "What is judged": {
        "model": "demo, a folder or a hub id",
        "lora": "adapter: a folder or hub id; none for none",
        "voice": "speaker, where a sentence names none",
        "recordings": "recordings with their texts instead",
        "url": "address of a server that runs the model",
        "compare": "several side by side, each NAME=WHAT",
    },
    "How": {
        "sentences": "a text file with a sentence a line, or .jsonl",
        "limit": "only so many of them",
        "takes": "speaks each so often: narrower intervals",
        "metrics": "any of wer, dnsmos, likeness and tags",
        "reference": "recordings of the real voice, for likeness",
        "language": "what is spoken (de, hi ...), if not the model's language",
        "asr": "another faster-whisper model: a name or a folder",
    },
    "Where it goes": {"out": "folder of the report and the clips"},
}


def _parse(argv):
    import tyro

    @dataclass(frozen=True)
    class Arguments:
        model: str = "auto"
        """auto (an adapter's own base; else Orpheus-3B on CUDA, the demo voice without), demo, a folder or a hub id."""
        lora: str = "auto"
        """auto (lora_model/ if it exists), none, a folder or a hub id."""
        lora_anyway: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
        """Takes an adapter of the right shapes for a model that it was not made for."""
        codec: str | None = None
        """Folder or hub id of a SNAC to use instead of the model's own."""
        engine: Literal[ENGINES] = "auto"
        """What speaks, as in inference.py."""
        server: Annotated[EndpointOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=EndpointOptions)
        device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
        """Where to run."""
        like: str | None = None
        """A known model that the model is like, as in inference.py."""
        voice: str | None = None
        """Speaker if a sentence names none. Default: the model's first voice, or the one the adapter was trained on."""
        recordings: Path | None = None
        """Judges recordings with transcripts instead: anything that `--dataset` takes, such as pairs a.wav + a.txt."""
        compare: tuple[str, ...] = ()
        """Several systems side by side, NAME=WHAT: a model, MODEL+ADAPTER, an adapter's folder, a model that a server runs as
        MODEL@http://localhost:8080, or a folder of recordings. The others are compared with the first."""
        out: Path = Path(OUT)
        """Folder for report.json, report.html and the clips: new, empty, or with the files of an earlier evaluation, which
        are replaced. Others stay."""
        list: Annotated[ListOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=ListOptions)
        judging: Annotated[JudgeOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=JudgeOptions)
        sampling: Annotated[SamplingOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=SamplingOptions)
        writing: Annotated[TextOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=TextOptions)
        long_text: Annotated[LongTextOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=LongTextOptions)
        retry: Annotated[RetryOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=RetryOptions)

    return parse(Arguments, __doc__, argv, "python -m orpheus.evaluate", COMMON)


# --- what is judged --------------------------------------------------------------------------------------------------


def _systems(arguments):
    """List of System. Raises InputError for duplicate names and for contradictory arguments."""
    from orpheus.evaluate.systems import System, parse_system

    if arguments.compare and arguments.recordings:
        raise InputError(
            "give --recordings or --compare, not both; recordings can be one of the systems: original=FOLDER"
        )
    server = arguments.server
    if server.url and (arguments.compare or arguments.recordings):
        raise InputError(
            f"--url speaks one system, and --{'compare' if arguments.compare else 'recordings'} names others: leave one of them out; "
            f"side by side it is --compare NAME=MODEL@{server.url}"
        )
    if arguments.recordings:
        return [System("recordings", recordings=arguments.recordings.expanduser())]
    if arguments.compare:
        systems = [parse_system(argument) for argument in arguments.compare]
        names = [system.name for system in systems]
        if len(set(names)) < len(names):
            raise InputError(f"--compare names a system twice: {', '.join(names)}")
    else:
        systems = [System("speech", model=arguments.model, lora=arguments.lora, url=server.url)]
    for system in systems:
        EndpointOptions(system.url)  # refuses what is no address, before anything is loaded
    if not any(system.url for system in systems) and (server.dialect != "auto" or server.served_model):
        raise InputError("--dialect and --served-model say more of a server: give its address with --url")
    return systems


def _clips(system, arguments, sentences):
    """(what the system is, list of Clip)"""
    from orpheus.evaluate.systems import read_clips, speak

    if system.recordings:
        return f"recordings in {system.recordings.name}", read_clips(system.recordings)
    from orpheus.speech.announcing import who_speaks
    from orpheus.speech.synthesis import OrpheusInference

    speaker = who_speaks(system.model, system.lora, arguments.voice, arguments.device, arguments.like)
    if speaker and not system.url:
        say(f"{system.name}: {speaker.line}")
    names = (system.model, system.lora, arguments.codec, arguments.device, arguments.engine)
    server = asdict(replace(arguments.server, url=system.url)) if system.url else {}
    tts = OrpheusInference(*names, like=arguments.like, lora_anyway=arguments.lora_anyway, **server)
    groups = (arguments.sampling, arguments.writing, arguments.long_text, arguments.retry)
    options = {name: value for group in groups for name, value in asdict(group).items()}
    seed = options.pop("seed")
    spoken = speak(tts, sentences, arguments.voice, arguments.list.takes, seed, True, **options)
    return _short(tts.name), list(spoken)


def _short(name):
    """The name of what speaks, without the folders that its model and its adapter are in."""
    names, at, url = name.partition(" at http")
    parts = [Path(part).name if Path(part).is_absolute() else part for part in names.split(" + ")]
    return " + ".join(parts) + at + url


# --- judges ----------------------------------------------------------------------------------------------------------


def _speaks_demo(system, arguments):
    from orpheus.speech.adapters import DEMO_VOICE
    from orpheus.speech.model import model_to_describe, resolve

    if system.recordings:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OrpheusWarning)  # they come again as the system is loaded
        named = resolve(
            model_to_describe(system.model, arguments.engine, system.url),
            system.lora,
            arguments.device,
            arguments.lora_anyway,
        )
    return named.checkpoint == str(DEMO_VOICE)


def _language(arguments, systems):
    """The language that is judged: the one asked for, or the models'. Raises InputError where they differ."""
    from orpheus.speech.model import description_of, model_to_describe

    if arguments.writing.language is not None:
        return language_code(arguments.writing.language)
    models = [model_to_describe(s.model, arguments.engine, s.url) for s in systems if not s.recordings]
    found = {description_of(model, "none", arguments.device, arguments.like).language or ENGLISH for model in models}
    found = found or {ENGLISH}
    if len(found) > 1:
        raise InputError(f"the models speak {' and '.join(sorted(found))}: say which is judged with --language")
    return found.pop()


def _reference(arguments, systems):
    """The folder to compare voices with, or None if likeness is left out. Raises InputError."""
    if "likeness" not in arguments.judging.metrics:
        return None
    if arguments.judging.reference:
        return arguments.judging.reference
    if all(_speaks_demo(system, arguments) for system in systems) and arguments.voice in (None, "nora", "theo"):
        return DEMO_REFERENCE
    if arguments.judging.metrics != METRICS:
        raise InputError("the metric likeness needs recordings of the voice: --reference FOLDER")
    say("likeness is left out: it needs recordings of the voice, --reference FOLDER")
    return None


def _check_out(arguments, systems):
    """Refuses an --out that is not ours to write, before anything is loaded. Raises InputError."""
    read = [("--model", s.model) for s in systems] + [("--lora", s.lora) for s in systems]
    read += [("--recordings", s.recordings) for s in systems] + [("--reference", arguments.judging.reference)]
    check_places([Place("--out", arguments.out, "evaluation")], [*read, ("--codec", arguments.codec)])


def evaluate(arguments):
    """Runs an evaluation; returns (report, folder)."""
    from orpheus.evaluate.judges import load_judges
    from orpheus.evaluate.report.folder import make_report, write_report
    from orpheus.evaluate.scoring import judge_clips
    from orpheus.evaluate.systems import read_clips, read_sentences, spread

    systems = _systems(arguments)
    _check_out(arguments, systems)
    sentences = spread(read_sentences(arguments.list.sentences), arguments.list.limit)
    folder = _reference(arguments, systems)
    reference = [(clip.audio, clip.voice) for clip in read_clips(folder)] if folder else []
    judges, facts, card = load_judges(arguments.judging, reference, _language(arguments, systems))
    if any(not system.recordings for system in systems):
        facts["sentences"] = f"{len(sentences)} of {arguments.list.sentences.name}, takes: {arguments.list.takes}"
        sampling = asdict(arguments.sampling)
        facts["sampling"] = ", ".join(f"{name} {value}" for name, value in sampling.items())
        if arguments.retry.retries:
            facts["retries"] = (
                f"{arguments.retry.retries}, chosen by {arguments.retry.choose_by_asr or 'length and end'}"
            )
    judged, audio = [], {}
    for system in systems:
        what, clips = _clips(system, arguments, sentences)
        judged.append((system.name, what, judge_clips(system.name, clips, judges, shown=True)))
        audio[system.name] = [clip.audio for clip in clips]
    report = make_report(judged, arguments.judging, facts, card)
    return report, write_report(arguments.out, report, audio, arguments.judging.html_audio)


def _run(argv):
    from orpheus.evaluate.report.screen import table

    arguments = _parse(argv)
    report, folder = evaluate(arguments)
    print(table(report))
    print(f"{folder / 'report.html'}   {folder / 'report.json'}")


def main(argv=None):
    """Runs the command line; returns the exit status."""
    return run(_run, argv)


if __name__ == "__main__":
    sys.exit(main())
