"""Speech recognition with faster-whisper: for missing transcripts, choosing among attempts, and the evaluation."""

from dataclasses import dataclass
from functools import partial
from warnings import warn

import numpy as np

from orpheus.common.audio import decode_audio, to_mono_24khz
from orpheus.common.command import say
from orpheus.common.errors import InputError, OrpheusWarning
from orpheus.common.files import Cache, key_of
from orpheus.common.frame import SAMPLE_RATE
from orpheus.common.hub import brief
from orpheus.text.languages import ENGLISH, HEARD, check_heard

RECOGNIZER_RATE = 16_000  # Hz: what Whisper was trained on
INSTALL = "pip install faster-whisper"
EXACTLY = {"beam_size": 1, "temperature": 0.0}  # greedy, no fallback: the same audio always gives the same words
_SHORTEST = SAMPLE_RATE // 20  # samples: anything shorter holds no word


def at_16khz(audio):
    """Resamples float32 (samples,) from 24 kHz to 16 kHz, within -1..1."""
    import librosa

    return np.clip(librosa.resample(audio, orig_sr=SAMPLE_RATE, target_sr=RECOGNIZER_RATE), -1, 1)


def require_faster_whisper(needed_by, install=INSTALL):
    """The library. If it is missing, raises InputError with the command that installs it."""
    try:
        import faster_whisper
    except ImportError as error:
        raise InputError(f"{needed_by} needs faster-whisper: {install}") from error
    return faster_whisper


def is_english(model):
    """Whether a model hears nothing but English, as its name says; it needs not be told."""
    return str(model).rstrip("/").endswith(".en")


def check_language(model, language, needed_by):
    """Refuses a language that Whisper does not know, or that a model for English only cannot hear. Raises InputError."""
    check_heard(language, needed_by)
    name = str(model).rstrip("/")
    if language != ENGLISH and is_english(model):
        other = name.removesuffix(".en")
        raise InputError(
            f"{needed_by}: {name} hears only English, not {language!r}; the same for all languages is {other}"
        )


@dataclass(frozen=True)
class Heard:
    """What was heard in a recording."""

    text: str
    words: tuple = ()  # (word, start, end) in seconds, if word times were asked for


class Recognizer:
    """A faster-whisper model.

    model: a size like tiny.en, a hub id or a folder; needed_by, install: for the error if the library is missing; cure:
    what to do if the model cannot be loaded; language: what it listens for; how: options of WhisperModel.transcribe
    Raises InputError.
    """

    def __init__(self, model, needed_by, cure, install=INSTALL, compute_type="default", language=ENGLISH, **how):
        self.name, self._how = model, how if is_english(model) else how | {"language": language}
        check_language(model, language, needed_by)
        library = require_faster_whisper(needed_by, install)
        self._open = partial(library.WhisperModel, model, compute_type=compute_type)
        try:
            self._model = self._open(device="auto")
        except Exception as error:  # of ctranslate2, huggingface_hub, or the file system
            raise InputError(f"the faster-whisper model {model!r} cannot be loaded: {brief(error)}. {cure}") from error

    def listen(self, audio):
        """Transcribes 24 kHz audio, float32 (samples,); returns Heard."""
        if len(audio) < _SHORTEST:
            return Heard("")
        segments = self._transcribe(at_16khz(audio))
        words = [
            (w.word.strip(), float(w.start), float(w.end)) for s in segments for w in getattr(s, "words", None) or ()
        ]
        return Heard(" ".join(s.text.strip() for s in segments).strip(), tuple(words))

    def _transcribe(self, audio):
        """CTranslate2 says only now if it lacks CUDA's libraries: PyTorch may have come with those of another version."""
        try:
            return list(self._model.transcribe(audio, **self._how)[0])
        except RuntimeError as error:
            if "not found or cannot be loaded" not in str(error):
                raise
            warn(f"speech recognition runs on the CPU, since on the GPU: {brief(error)}", OrpheusWarning, stacklevel=3)
            self._model = self._open(device="cpu")
            return list(self._model.transcribe(audio, **self._how)[0])


class Transcriber:
    """Writes missing transcripts; loads the model at the first recording that is not in the cache."""

    def __init__(self, model_name, cache_folder, language=ENGLISH):
        self.language, self.name = language, model_name or ("base.en" if language == ENGLISH else "base")
        self._recognizer, self._cache = None, Cache(cache_folder, "transcripts")
        check_language(self.name, language, "--transcribe")
        require_faster_whisper("--transcribe")

    def transcribe(self, data, content_hash):
        """The transcript of an audio file's bytes, possibly ""; cached by content."""
        spoken = () if self.language == ENGLISH else (self.language,)
        key = key_of("transcript", 1, self.name, content_hash, *spoken)
        kept = self._cache.get(key)
        if kept is not None:
            return kept.decode()
        if self._recognizer is None:
            cure = "Give a folder with --transcribe-model, or write the transcripts yourself"
            say(f"transcribing with {self.name}, listening for {HEARD[self.language]} (--language)")
            self._recognizer = Recognizer(self.name, "--transcribe", cure, language=self.language)
        text = self._recognizer.listen(to_mono_24khz(*decode_audio(data, "the recording"))).text
        self._cache.put(key, text.encode())
        return text
