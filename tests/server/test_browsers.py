"""The page at / in real browsers: what is heard, sample by sample, and what a user does with it."""

import json
import subprocess

import numpy as np
import pytest

from tests.fakes.browsers import browsing, find
from tests.fakes.server import serving, wait_for

pytestmark = pytest.mark.browser

FRAME = 2048
# Listens in front of the speakers, keeps what is saved, and notes every fault of a page.
LISTEN = """
window.heard = []; window.saved = []; window.faults = [];
addEventListener("error", event => faults.push(event.message));
addEventListener("unhandledrejection", event => faults.push(String(event.reason)));
addEventListener("securitypolicyviolation", event => faults.push(event.violatedDirective + " " + event.blockedURI));
const link = AudioNode.prototype.connect, made = URL.createObjectURL;
URL.createObjectURL = blob => { saved.push(blob); return made.call(URL, blob); };
AudioContext.prototype.suspend = () => Promise.resolve();
AudioNode.prototype.connect = function (to, ...rest) {
  const context = this.context;
  if (to === context.destination) {
    if (!context.ear) {
      context.ear = context.createScriptProcessor(16384, 1, 1);
      context.ear.onaudioprocess = event => heard.push(...event.inputBuffer.getChannelData(0).map(v => v * 32768));
      link.call(context.ear, to);
    }
    link.call(this, context.ear);
  }
  return link.call(this, to, ...rest);
};
"""


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def opened(request, tmp_path_factory):
    if find(request.param) is None:
        pytest.skip(f"no {request.param} is installed")
    with browsing(request.param, tmp_path_factory.mktemp(request.param), LISTEN) as browser:
        yield browser


@pytest.fixture
def page(opened, server):
    """A browser with the server's page, whose voices are there."""
    opened.open(server.address + "/")
    opened.wait("document.querySelector('#voice').options.length > 2")
    yield opened
    assert opened.run("faults") == []


def fill(page, text, **fields):
    for name, value in {"text": text, **fields}.items():
        page.run(f"(el[{json.dumps(name)}].value = {json.dumps(value)}, changed(), 0)")


def spoken(server, text, **fields):
    answer = server.http.post("/v1/audio/speech", json={"input": text, "response_format": "pcm"} | fields)
    return np.frombuffer(answer.content, "<i2")


def heard(page, samples):
    """What was heard, from its first sound to its last, once so many samples have come."""
    page.wait(f"heard.length > {samples} && heard.some(v => v) && heard.slice(-16384).every(v => !v)")
    made = np.array(page.run("heard"))
    sounding = np.flatnonzero(made)
    made = made[sounding[0] : sounding[-1] + 1]
    # A machine that is busy with other things may run dry; then silence comes in between, and nothing is lost.
    silent = np.flatnonzero(np.convolve(made == 0, np.ones(500), "valid") == 500)
    return np.delete(made, np.unique(silent[:, None] + np.arange(500)))


def trimmed(samples):
    sounding = np.flatnonzero(samples)
    return samples[sounding[0] : sounding[-1] + 1]


def near(made, expected):
    """Whether sounds are the same; the rounding of the decoder's sums depends on how many texts are spoken."""
    return made.shape == expected.shape and np.abs(made - expected).max() <= 1


def test_every_sample_is_heard_while_it_is_made(page, server):
    server.talker.frames, server.talker.pause = 40, 0.006  # 3.4 s of sound, made in 1.7 s
    fill(page, "Good morning.", seed="5", voice="bob")
    page.click("#speak")
    page.wait("heard.some(v => v !== 0)")
    assert page.run("sound.first") < 1 and not page.run("sound.done")
    assert server.speaker.admission.active == 1
    server.talker.pause = 0.0
    expected = spoken(server, "Good morning.", seed=5, voice="bob")
    assert len(expected) == 40 * FRAME
    assert near(heard(page, len(expected)), trimmed(expected))
    assert page.run("el.status.textContent") == "Spoken: 3.4 seconds" and page.run("el.stop.disabled")


def test_stop_frees_the_row_and_is_silent(page, server):
    server.talker.frames, server.talker.pause = 190, 0.005
    fill(page, "Good morning.")
    page.click("#speak")
    page.wait("heard.some(v => v !== 0)")
    page.press("Escape")
    wait_for(lambda: server.speaker.admission.active == 0)
    assert page.run("el.status.textContent") == "Stopped" and page.run("el.stop.disabled")
    page.run("(heard.length = 0, 0)")
    page.wait("heard.length > 3 * 16384")
    assert page.run("heard.slice(16384).every(v => v === 0)")
    assert page.run("past.rows.length === 0 || past.rows[0].seconds < 15")


def test_history_outlives_the_page(page, server):
    page.run("past.clear()")
    for text, seed in (("One.", "1"), ("Two.", "2")):
        fill(page, text, seed=seed, speed="1.5")
        page.run("(el.text.focus(), 0)")
        page.press("Enter", control=True)
        page.wait(f"past.rows.length === {seed}")
    page.open(server.address + "/")
    page.wait("past.rows.length === 2")
    assert page.run("[...document.querySelectorAll('li p')].map(p => p.textContent)") == ["Two.", "One."]
    expected = spoken(server, "One.", seed=1, speed=1.5, voice=page.run("past.rows[1].body.voice"))
    page.click("li:nth-child(2) button")
    assert near(heard(page, len(expected)), trimmed(expected))
    page.click("li:nth-child(2) button:nth-child(2)")
    assert page.run("[el.text.value, el.seed.value, el.speed.value]") == ["One.", "1", "1.5"]
    page.click("li:nth-child(1) [data-delete]")
    assert page.run("past.rows.map(row => row.text)") == ["One."]
    assert page.run("'delete' in document.activeElement.dataset")  # the focus is not lost


def test_history_is_bounded(page):
    page.run("past.clear()")
    row = "{id: n, text: 'x', body: {seed: n}, seconds: 1, pcm: new ArrayBuffer(size)}"
    page.run(f"(async () => {{ for (let n = 1, size = 10; n < 40; n++) await past.add({row}); }})()")
    assert page.run("past.rows.map(row => row.id)") == list(range(39, 9, -1))
    page.run(f"(async () => {{ for (let n = 40, size = 25e6; n < 43; n++) await past.add({row}); }})()")
    assert page.run("past.rows.map(row => row.id)") == [42, 41]
    assert page.run("past.run('readonly', store => store.getAllKeys())") == [41, 42], page.run(
        "document.body.innerText"
    )
    page.run("past.clear()")


def test_what_is_saved(page, server):
    fill(page, "What <laugh> is it?", seed="3")
    page.click("#speak")
    page.wait("sound && sound.done && !player.playing")
    expected = spoken(server, "What <laugh> is it?", seed=3, voice=page.run("el.voice.value"))
    for format in ("wav", "flac"):
        page.run(f"(el.format.value = '{format}', 0)")
        page.click("#download")
        page.wait("saved.length")
        data = bytes(page.run("saved.shift().arrayBuffer().then(data => [...new Uint8Array(data)])"))
        if format == "wav":
            assert data[40:44] == (2 * len(expected)).to_bytes(4, "little") and data[44:] == expected.tobytes()
        else:
            assert data[:4] == b"fLaC"
    assert page.run("el.status.textContent") == "Saved What_is_it.flac"


def test_tags_go_where_the_caret_is(page):
    fill(page, "Well then.")
    page.run("(el.text.focus(), el.text.setSelectionRange(4, 4), 0)")
    page.click("#tags button")
    tag = page.run("el.tags.firstChild.textContent")
    assert page.run("el.text.value") == f"Well {tag} then."
    page.type("so")
    assert page.run("el.text.value") == f"Well {tag}so then."


def test_it_can_be_used_with_the_keyboard_alone(page):
    fill(page, "Yes.", seed="")
    page.run("(el.text.focus(), 0)")
    seen = []
    for _ in range(60):
        page.press("Tab")
        seen.append(page.run("document.activeElement.id"))
        if seen[-1] == "speak":
            break
    assert [name for name in seen if name] == ["voice", "speed", "seed", "speak"]
    page.press("Enter", control=True)
    page.wait("sound && sound.done && !player.playing")
    page.run("(el.keep.click(), 0)")
    assert page.run("+el.seed.value === sound.body.seed")


TEXTS = [
    "It's 5 o'clock; \"$HOME\" `ls` \\n \\ !",
    "Two\nlines, caf\u00e9, \u4f60\u597d \U0001f600",
    "-d @/etc/passwd %s {x}",
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_from_a_program(page, server, text, tmp_path):
    fill(page, text, seed="9", speed="2", voice="bob")
    wanted = spoken(server, text, seed=9, speed=2, voice="bob", response_format="mp3").tobytes()
    command = page.run("el.curl.textContent")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert (tmp_path / "speech.mp3").read_bytes() == wanted
    pytest.importorskip("openai")
    program = page.run("el.python.textContent").replace('"speech.mp3"', repr(str(tmp_path / "other.mp3")))
    exec(compile(program, "page", "exec"), {})
    assert (tmp_path / "other.mp3").read_bytes() == wanted


def test_errors_are_said(page, server):
    for text, fields, said in (
        ("", {}, "There is no text to speak"),
        ("Yes.", {"seed": "-1"}, "The seed must be a whole number"),
        ("...", {"seed": ""}, "The server says:"),
        ("a" * 100_001, {}, "input has 100,001 characters"),
    ):
        fill(page, text, **fields)
        page.click("#speak")
        page.wait(f"!el.error.hidden && el.error.textContent.includes({json.dumps(said)})")
    assert page.run("el.error.getAttribute('role')") == "alert"
    server.talker.frames, server.talker.pause = 190, 0.005
    fill(page, "Yes.")
    page.click("#speak")
    page.wait("sound.length > 0")
    server.talker.fail = RuntimeError("no")
    page.wait("el.error.textContent.startsWith('The speech broke off after')")
    assert not page.run("el.download.disabled")


def test_a_server_that_is_gone(page, server):
    server.should_exit = True
    wait_for(lambda: not server.servers[0].is_serving())
    fill(page, "Yes.")
    page.click("#speak")
    page.wait("el.error.textContent.includes('cannot be reached')")


def test_a_key(opened, talker):
    with serving({"small": talker[1]}, keys={"abcdefgh": "anna"}) as running:
        opened.open(running.address + "/")
        opened.wait("el.voice.options.length > 2")
        for key, said in (
            ("", "a key is needed"),
            ("wrong-key", "the key is not known"),
            ("\u00e4\u00f6", "a sign that"),
        ):
            fill(opened, "Yes.", key=key, seed="")
            opened.click("#speak")
            opened.wait(f"el.error.textContent.includes({json.dumps(said)})")
        assert opened.run("document.activeElement.id") in ("key", "speak")
        fill(opened, "Yes.", key="abcdefgh")
        opened.click("#speak")
        opened.wait("sound.done && sound.length > 0 && el.error.hidden")
        assert "$ORPHEUS_KEY" in opened.run("el.curl.textContent") and "abcdefgh" not in opened.run(
            "el.curl.textContent"
        )
        assert opened.run("faults") == []


@pytest.mark.parametrize("width", [320, 360, 1280])
def test_nothing_is_cut_off(page, width):
    page.look(width)
    page.run(
        "(past.rows = [{id: 1, text: 'a'.repeat(300), body: {seed: 1}, seconds: 1}], past.show(), el.code.open = true, 0)"
    )
    assert page.run("document.documentElement.scrollWidth") <= width
    small = (
        "[...document.querySelectorAll('button, select, textarea')].filter(b => b.offsetHeight && b.offsetHeight < 36)"
    )
    assert page.run(f"{small}.length") == 0
