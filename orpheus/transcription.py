"""Transcripts for recordings that have none, written by faster-whisper."""

from orpheus.common.audio import decode_audio, to_mono_24khz
from orpheus.common.errors import InputError
from orpheus.common.files import Cache, key_of
from orpheus.common.frame import SAMPLE_RATE
from orpheus.common.hub import brief

_WHISPER_RATE = 16_000  # Hz


def faster_whisper_for(flag):
    """The library. Raises InputError with the cure where it is missing; `flag` is what needs it."""
    try:
        import faster_whisper
    except ImportError as error:
        raise InputError(f"{flag} needs faster-whisper: pip install faster-whisper") from error
    return faster_whisper


def load_whisper(library, name, cure):
    """A WhisperModel by faster-whisper's name of it or from a folder. Raises InputError with the cure."""
    try:
        return library.WhisperModel(name, device="auto", compute_type="default")
    except Exception as error:  # of ctranslate2, huggingface_hub, or the file system
        raise InputError(f"faster-whisper's model {name!r} cannot be loaded: {brief(error)}. {cure}") from error


def hear(model, audio, **options):
    """What is heard in `audio`, float32 (samples,) at 24 kHz; options are those of WhisperModel.transcribe."""
    import librosa

    segments, _ = model.transcribe(librosa.resample(audio, orig_sr=SAMPLE_RATE, target_sr=_WHISPER_RATE), **options)
    return " ".join(segment.text.strip() for segment in segments).strip()


class Transcriber:
    """Loads the model when the first recording is not in the cache."""

    def __init__(self, model_name, cache_folder):
        self.name, self._model, self._cache = model_name, None, Cache(cache_folder, "transcripts")
        self._library = faster_whisper_for("--transcribe")

    def _load(self):
        cure = "Give a folder with --transcribe-model, or write the transcripts yourself"
        return load_whisper(self._library, self.name, cure)

    def transcribe(self, data, content_hash):
        """The transcript of an audio file's bytes, possibly ""; kept by content."""
        key = key_of("transcript", 1, self.name, content_hash)
        kept = self._cache.get(key)
        if kept is not None:
            return kept.decode()
        self._model = self._model or self._load()
        text = hear(self._model, to_mono_24khz(*decode_audio(data, "the recording")))
        self._cache.put(key, text.encode())
        return text
