"""Speaks tagged text with Orpheus TTS.

    python inference.py                                  five examples into generated_audio/
    python inference.py "I missed you <laugh> so much!"  your own text
    python inference.py "Good morning." --play           aloud, while it is made
    python inference.py --text-file story.txt --out story.mp3
    echo "Hello there." | python inference.py - --stream wav | aplay

In Python: `from inference import OrpheusInference`.
"""

import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from orpheus.common.command import parse, run, say, tell
from orpheus.common.errors import InputError
from orpheus.common.stored import read_text_file
from orpheus.engines.options import ENGINES, EndpointOptions, SamplingOptions
from orpheus.speech.options import (
    EXAMPLES,
    LongTextOptions,
    ReferenceOptions,
    RetryOptions,
    StreamOptions,
    TextOptions,
)

FORMATS = ("wav", "mp3", "opus", "ogg", "flac", "m4a")
LONGEST_TEXT = 10_000_000  # bytes: three times War and Peace
COMMON = {  # what --help shows
    "What to say": {
        "text": "several make several files; - is standard input",
        "text_file": "reads the text from a file",
        "language": "what it is in (de, hi ...)",
    },
    "Who speaks": {
        "voice": "speaker, as --list-voices shows them",
        "list_voices": "shows voices, tags and language of the model",
        "lora": "adapter: a folder or hub id; none: not lora_model/",
        "model": "demo, a folder, a hub id or a GGUF file",
    },
    "Where it goes": {
        "play": "aloud, while it is made; a file only with --out",
        "out": "folder, or a file: .wav .mp3 .opus .ogg .flac .m4a",
        "format": "of the files in a folder: wav, mp3 ...",
        "subtitles": "writes .srt and .vtt beside each sound",
        "stream": "to standard output while it is made: wav, pcm, mp3 ...",
    },
    "How it sounds": {
        "seed": "another seed, another take",
        "temperature": "livelier above 0.6, steadier below",
        "retries": "speaks again what went wrong, up to N times",
    },
}

__all__ = ["OrpheusInference"]  # noqa: F822  see __getattr__


def __getattr__(name):
    """Imports `OrpheusInference`, and PyTorch with it, on first use: `--help` stays fast."""
    if name == "OrpheusInference":
        from orpheus.speech.synthesis import OrpheusInference

        return OrpheusInference
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _parse(argv):
    import tyro

    @dataclass(frozen=True)
    class Arguments:
        text: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
        """What to say. Several texts make several files; "-" reads standard input. Without a text: five examples."""
        text_file: Path | None = None
        """Reads the text from a file; an empty line is a paragraph break."""
        voice: str | None = None
        """Speaker; see --list-voices. Default: the model's first voice, or the one the adapter was trained on. none: no name.
        Models whose voice is described in words take the description."""
        out: Path | None = None
        """Folder for output_0.wav, output_1.wav ..., or the name of one text's file: .wav .mp3 .opus .ogg .flac .m4a. Default:
        generated_audio."""
        model: str = "auto"
        """auto (an adapter's own base; else Orpheus-3B on CUDA, the demo voice without), demo, a folder, a hub id, or a GGUF file."""
        lora: str = "auto"
        """auto (lora_model/ if it exists), none, a folder or a hub id."""
        lora_anyway: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
        """Takes an adapter of the right shapes for a model that it was not made for."""
        codec: str | None = None
        """Folder or hub id of a SNAC to use instead of the model's own."""
        like: str | None = None
        """A known model that this one is like, such as orpheus-3b-ft, where its files don't say (docs/models.md lists them)."""
        device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
        """Where to run."""
        engine: Literal[ENGINES] = "auto"
        """fast (a hand-written Llama step), fast-int8, fast-int4 and fast-fp8 (the same with smaller weights), transformers (any model), llama.cpp (a
        GGUF), endpoint (a server at --url), or auto (what fits: fast if it supports the model)."""
        server: Annotated[EndpointOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=EndpointOptions)
        play: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
        """Speaks through the loudspeakers while it is made; writes a file only with --out."""
        format: Literal[FORMATS] | None = None
        """What files in a folder are. Default: wav; one file's ending says it, too."""
        subtitles: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
        """Writes an .srt and a .vtt file beside each sound. Their times are those of the words where faster-whisper is installed,
        else those of the pieces that were spoken."""
        stream: Literal["off", "wav", "pcm", "mp3", "opus", "flac", "aac"] = "off"
        """Writes audio to standard output as it is generated, at 24 kHz; pcm is raw 16-bit mono."""
        list_voices: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
        """Lists the voices, tags, language and how the model was recognised, then exits."""
        sampling: Annotated[SamplingOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=SamplingOptions)
        writing: Annotated[TextOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=TextOptions)
        clips: Annotated[ReferenceOptions, tyro.conf.OmitArgPrefixes, tyro.conf.UseAppendAction] = field(
            default_factory=ReferenceOptions
        )
        long_text: Annotated[LongTextOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=LongTextOptions)
        retry: Annotated[RetryOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=RetryOptions)
        streaming: Annotated[StreamOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=StreamOptions)

    return parse(Arguments, __doc__, argv, "python inference.py", COMMON)


def _texts(arguments):
    """The texts to speak: arguments, a file, standard input, or the examples."""
    if arguments.text and arguments.text_file:
        raise InputError("give a text or --text-file, not both")
    if arguments.text_file:
        try:
            return [_text_of(read_text_file(arguments.text_file, LONGEST_TEXT, "utf-8-sig", streams=True))]
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"--text-file {arguments.text_file} cannot be read as UTF-8 text: {reason}") from error
    if arguments.text.count("-") > 1:
        raise InputError("standard input can only be read once: give a single -")
    return [_standard_input() if text == "-" else text for text in arguments.text or _examples(arguments)]


def _text_of(text):
    if "\0" in text:
        raise ValueError("it has NUL characters, as binary files and UTF-16 have; save it as UTF-8")
    return text


def _examples(arguments):
    """The example sentences, in the language that is spoken."""
    from orpheus.common.progress import State
    from orpheus.speech.examples import example_sentences
    from orpheus.speech.model import description_of
    from orpheus.text.languages import ENGLISH, HEARD, language_code

    if arguments.writing.language is not None:
        language = language_code(arguments.writing.language)
    else:
        with State("loading", shown=sys.stderr is not None and sys.stderr.isatty()):  # in a log it is said once, later
            language = description_of(*_asked(arguments)).language_of(arguments.voice) or ENGLISH
    if language == ENGLISH:
        return EXAMPLES
    if not example_sentences(language):
        raise InputError(f"there are no example sentences in {HEARD.get(language, language)}: give a text")
    return example_sentences(language)


def _asked(arguments):
    """What `description_of` is asked for."""
    from orpheus.speech.model import model_to_describe

    model = model_to_describe(arguments.model, arguments.engine, arguments.server.url)
    return model, arguments.lora, arguments.device, arguments.like, arguments.lora_anyway


def _standard_input():
    if sys.stdin is None:
        raise InputError("- reads standard input, but there is none: give a text or --text-file")
    try:
        data = sys.stdin.buffer.read(LONGEST_TEXT + 1)
        if len(data) > LONGEST_TEXT:
            raise ValueError(f"it has more than {LONGEST_TEXT / 1e6:,.0f} MB, the most that is read")
        return _text_of(data.decode("utf-8-sig"))
    except ValueError as error:
        raise InputError(f"standard input is not UTF-8 text: {error}") from error


def _options(arguments):
    groups = (arguments.sampling, arguments.writing, arguments.clips, arguments.long_text, arguments.retry)
    return {name: value for group in groups for name, value in asdict(group).items()}


def _load(arguments, said):
    """OrpheusInference. said: the line about who speaks, which is said again where PyTorch knows better."""
    from orpheus.common.progress import State

    with State("loading"):
        import torch  # noqa: F401

        from orpheus.speech.model import load_model
        from orpheus.speech.synthesis import OrpheusInference

        names = (arguments.model, arguments.lora, arguments.codec, arguments.device, arguments.engine)
        more = {"like": arguments.like, "lora_anyway": arguments.lora_anyway, **asdict(arguments.server)}
        _say_who(said, *names[:2], arguments.voice, arguments.device, arguments.like, arguments.server.url)
        return OrpheusInference(load_model(*names, **more)[0])


def _list_voices(arguments):
    from orpheus.speech.examples import samples_of
    from orpheus.speech.model import description_of
    from orpheus.text.overview import lines_of

    description = description_of(*_asked(arguments))
    print("\n".join(lines_of(description, samples_of(description.voices))))


def _stream(arguments, texts, said):
    if len(texts) > 1:
        raise InputError(f"--stream speaks one text, but {len(texts)} were given")
    if arguments.out is not None:
        raise InputError(f"--stream writes to standard output, --out {arguments.out} to files: give only one of them")
    for name in ("play", "subtitles", "format"):
        if getattr(arguments, name):
            raise InputError(f"--stream writes nothing but sound to standard output: leave out --{name}, or --stream")
    if sys.stdout is None or sys.stdout.isatty():
        raise InputError(
            "--stream writes audio to standard output: send it to a player or a file, as in `--stream wav | aplay`; or say --play"
        )
    from orpheus.common.sounds import check_writable, stream_writer

    check_writable(f"stream.{arguments.stream}")
    speaker = _load(arguments, said)
    chunks = speaker.stream(texts[0], arguments.voice, **_options(arguments), **asdict(arguments.streaming))
    output = stream_writer(sys.stdout.buffer, arguments.stream)
    for chunk in chunks:
        output.write(chunk)
    output.close()


def _speak(arguments, texts, said):
    """Into files, or through the loudspeakers, or both."""
    from orpheus.speech.output import output_paths, summary
    from orpheus.speech.subtitles import names_beside

    silent = arguments.play and arguments.out is None  # writes nothing
    if silent and (arguments.subtitles or arguments.format):
        raise InputError("--play writes a file only with --out: add it, or leave out --subtitles and --format")
    beside = names_beside if arguments.subtitles else lambda path: ()
    paths = [None] * len(texts) if silent else output_paths(arguments.out, len(texts), arguments.format, beside)
    if arguments.play:
        from orpheus.speech.playing import find_player

        player = find_player()
    speaker = _load(arguments, said)
    speeches = _played(arguments, speaker, texts, player) if arguments.play else _spoken(arguments, speaker, texts)
    subtitles = _Subtitles(arguments, speaker) if arguments.subtitles else None
    for speech, path in zip(speeches, paths, strict=True):
        if path is not None:
            speech.save(path)
            tell(f"{path}: {summary(speech)}")
        if subtitles:
            subtitles.write(path, speech)


def _spoken(arguments, speaker, texts):
    return speaker.synthesize_all(texts, arguments.voice, progress=True, **_options(arguments))


def _played(arguments, speaker, texts, player):
    """Speeches, each played while it is made."""
    from orpheus.speech.playing import play_stream
    from orpheus.speech.synthesis import Speech

    options = _options(arguments) | asdict(arguments.streaming)
    streams = [speaker.stream(text, arguments.voice, **options) for text in texts]  # all texts are checked first
    with player() as loudspeakers:
        for text, stream in zip(texts, streams):
            began = time.perf_counter()
            audio = play_stream(loudspeakers, stream)
            taken = time.perf_counter() - began
            seed, ends = arguments.sampling.seed, (stream.finish_reason,)
            yield Speech(audio, text, arguments.voice, seed, ends, taken, pieces=tuple(stream.pieces))


class _Subtitles:
    """Writes subtitles; says once what their times are."""

    def __init__(self, arguments, speaker):
        from orpheus.speech.reading import language_to_speak
        from orpheus.speech.subtitles import word_listener

        language = language_to_speak(speaker.model, arguments.writing, arguments.voice)
        self.listen, self.by = word_listener(language, arguments.retry.choose_by_asr)

    def write(self, path, speech):
        from orpheus.speech.subtitles import cues_of, write_subtitles

        srt, vtt = write_subtitles(path, cues_of(speech.pieces, self.listen, speech.audio))
        tell(f"{srt}, {vtt.name}: {self.by}")


def _announce(argv):
    """Says who is going to speak, before anything else is as much as imported; returns that line."""
    from orpheus.common.command import peek
    from orpheus.common.missing import require

    if peek(argv, "list-voices", "help", "help-all", "version", "h"):
        return None
    require("tyro", "torch")  # who cannot speak is not announced
    given = peek(argv, "model", "lora", "voice", "device", "like", "url")
    return _say_who(None, **{name: value for name, value in given.items() if value is not True})


def _say_who(said, *names, **more):
    """Says who speaks, unless that was said; returns the line, None where it cannot be told."""
    from orpheus.speech.announcing import who_speaks

    speaker = who_speaks(*names, **more)
    if speaker and speaker.line != said:
        say(speaker.line)
    return speaker and speaker.line


def _run(argv):
    argv = sys.argv[1:] if argv is None else argv
    said = _announce(argv)
    arguments = _parse(argv)
    if arguments.list_voices:
        return _list_voices(arguments)
    texts = _texts(arguments)
    if arguments.clips.reference:
        from orpheus.speech.reference import read_clip

        for path in arguments.clips.reference:  # before anything is loaded
            read_clip(path)
    return (_stream if arguments.stream != "off" else _speak)(arguments, texts, said)


def main(argv=None):
    """Runs the command line; returns the exit status."""
    return run(_run, argv)


if __name__ == "__main__":
    sys.exit(main())
