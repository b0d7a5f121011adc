"""Transcripts for recordings that have none, written by faster-whisper."""

from orpheus.audio import decode_audio, to_mono_24khz
from orpheus.code_cache import Cache, key_of
from orpheus.errors import InputError
from orpheus.frame import SAMPLE_RATE
from orpheus.hub import brief

_WHISPER_RATE = 16_000  # Hz


class Transcriber:
    """Loads the model when the first recording is not in the cache."""

    def __init__(self, model_name, cache_folder):
        self.name, self._model, self._cache = model_name, None, Cache(cache_folder, "transcripts")
        try:
            import faster_whisper
        except ImportError as error:
            raise InputError("--transcribe needs faster-whisper: pip install faster-whisper") from error
        self._library = faster_whisper

    def _load(self):
        try:
            return self._library.WhisperModel(self.name, device="auto", compute_type="default")
        except Exception as error:  # of ctranslate2, huggingface_hub, or the file system
            raise InputError(
                f"faster-whisper's model {self.name!r} cannot be loaded: {brief(error)}. Give a folder with "
                "--transcribe-model, or write the transcripts yourself"
            ) from error

    def transcribe(self, data, content_hash):
        """The transcript of an audio file's bytes, possibly ""; kept by content."""
        key = key_of("transcript", 1, self.name, content_hash)
        kept = self._cache.get(key)
        if kept is not None:
            return kept.decode()
        import librosa

        self._model = self._model or self._load()
        audio = to_mono_24khz(*decode_audio(data, "the recording"))
        audio = librosa.resample(audio, orig_sr=SAMPLE_RATE, target_sr=_WHISPER_RATE)
        segments, _ = self._model.transcribe(audio)
        text = " ".join(segment.text.strip() for segment in segments).strip()
        self._cache.put(key, text.encode())
        return text
