"""Judges that need nothing beyond requirements-cpu.txt, and clips for them."""

from orpheus.evaluate.options import JudgeOptions
from orpheus.evaluate.scoring import Judges, judge
from orpheus.evaluate.systems import Clip
from orpheus.text.recognition import Heard
from tests.fakes.recordings import speech

OPTIONS = JudgeOptions(bootstrap=200)


class FakeRecognizer:
    """Hears what it is told to, half a second a word."""

    name = "fake"

    def __init__(self, *heard):
        self.heard = list(heard)

    def listen(self, audio):
        text = self.heard.pop(0)
        words = text.split()
        return Heard(text, tuple((w, n / 2, n / 2 + 0.5) for n, w in enumerate(words)))


class FakeNaturalness:
    name = "fake"

    def score(self, audio):
        return {"ovrl": 3.0 + len(audio) / 24_000, "sig": 3.5, "bak": 4.0, "p808": 3.2}


class FakeLikeness:
    name = "fake"

    def __init__(self, reference=()):
        self.reference = reference

    def score(self, audio, voice):
        return 0.9 if voice == "nora" else 0.5


class FakeDetector:
    card = {
        "unheard_voices": {"clips": 10, "heard": 0.9, "named": 0.8, "false_alarms": 0.05, "clips_without_tag": 40},
    }

    def __init__(self, *events):
        self.found = list(events)

    def events(self, audio):
        return self.found.pop(0)


def clip(text, seconds=2.0, **facts):
    return Clip(text, speech(seconds)[:, 0], **facts)


def rows_of(*pairs, reason="end_of_speech"):
    """Rows of texts and what was heard."""
    judges = Judges(recognizer=FakeRecognizer(*(heard for _, heard in pairs)))
    return [judge(clip(text, finish_reason=reason), judges) for text, _ in pairs]
