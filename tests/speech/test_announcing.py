"""Who speaks, said before anything is loaded: the same that is then loaded."""

import subprocess
import sys

import pytest

from orpheus.common.options import ORPHEUS_3B, ROOT
from orpheus.speech import announcing
from orpheus.speech.adapters import DEMO_VOICE
from orpheus.speech.announcing import who_speaks
from tests.fakes.adapters import train_adapter


@pytest.fixture
def adapter(small_voice_folder, in_empty_folder):
    """An adapter in lora_model/, made for the small voice."""
    train_adapter(in_empty_folder / "lora_model", small_voice_folder)
    (in_empty_folder / "lora_model" / "voices.json").write_text('["milo"]')
    return in_empty_folder / "lora_model"


def line(*arguments, **more):
    return who_speaks(*arguments, **more).line


def test_the_demo_voice_where_there_is_no_cuda(in_empty_folder):
    found = who_speaks(cuda=False)
    assert found.line == f"nora, the demo voice: no CUDA here (--model {ORPHEUS_3B}: slow)"
    assert found.checkpoint == str(DEMO_VOICE) and found.adapter is None


def test_the_full_model_where_there_is(in_empty_folder):
    assert line(cuda=True) == f"tara, {ORPHEUS_3B}"
    assert line(voice="leo", cuda=True) == f"leo, {ORPHEUS_3B}"
    assert line(device="cuda:1") == f"tara, {ORPHEUS_3B}"
    assert line(device="cpu").startswith("nora, the demo voice")


@pytest.mark.parametrize(
    "names, said",
    [
        ({"model": "demo"}, "nora, the demo voice"),
        ({"model": "demo", "voice": "theo"}, "theo, the demo voice"),
        ({"model": "demo", "voice": "none"}, "no named voice, the demo voice"),
        ({"model": "canopylabs/3b-de-ft-research_release"}, "jana, canopylabs/3b-de-ft-research_release"),
        ({"model": "somebody/unknown-model"}, "its own voice, somebody/unknown-model"),
        ({"model": "somebody/unknown-model", "like": "3b-fr-ft"}, "pierre, somebody/unknown-model"),
        ({"url": "http://localhost:8080"}, f"tara, {ORPHEUS_3B} at http://localhost:8080"),
    ],
)
def test_other_models(in_empty_folder, names, said):
    assert line(**names, cuda=False) == said


def test_an_adapter_that_takes_over_by_itself_says_how_to_be_rid_of_it(adapter, small_voice_folder):
    model = str(small_voice_folder)
    assert line(model, cuda=False) == f"milo, adapter lora_model/ on {model}; --lora none speaks as ann"
    assert line(cuda=False).endswith(f"lora_model/ on {model}; --lora none speaks as nora, the demo voice")
    assert line(model, voice="bob", cuda=False).startswith("bob, adapter lora_model/ on ")


def test_one_that_was_asked_for_does_not(adapter, small_voice_folder):
    model = str(small_voice_folder)
    assert line(model, "lora_model", cuda=False) == f"milo, adapter lora_model/ on {model}"
    assert line("lora_model", cuda=False) == f"milo, adapter lora_model/ on {model}"
    assert line(model, "none", cuda=False) == f"ann, {model}"


def test_an_adapter_on_the_hub_is_not_fetched(in_empty_folder):
    assert line("demo", "you/voice", cuda=False) == "nora, adapter you/voice on the demo voice"


@pytest.mark.parametrize("names", [{"model": "nowhere/at/all"}, {"lora": "./gone"}, {"like": "none-such"}])
def test_what_cannot_be_found_is_left_to_the_error_that_follows(in_empty_folder, names):
    assert who_speaks(**names, cuda=False) is None


@pytest.mark.parametrize(
    "text, built",
    [
        ("cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n", True),
        ("cuda = '12.8'\n", True),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.4'\n", True),
        ("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n", False),
        (None, False),
    ],
)
def test_what_torch_was_built_for_is_read_from_its_files(tmp_path, monkeypatch, text, built):
    if text is not None:
        (tmp_path / "version.py").write_text(text)
    spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(announcing, "find_spec", lambda name: spec)
    assert announcing.built_with_cuda() == built


def test_without_torch_there_is_no_cuda(monkeypatch):
    monkeypatch.setattr(announcing, "find_spec", lambda name: None)
    assert not announcing.built_with_cuda()


# --- the command ---


def test_it_comes_before_anything_else_and_needs_no_torch(tmp_path):
    """A process of its own, under 1 s: it is stopped once the line is there."""
    code = (
        "import sys, inference\n"
        "import orpheus.common.command as command\n"
        "inference._announce(['Hello.', '--model', 'demo', '--voice=theo'])\n"
        "print(sorted({'torch', 'numpy', 'tyro', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stderr, done.stdout) == ("theo, the demo voice\n", "[]\n")


def test_one_line_then_loading(run):
    status, _, err = run("Hello there.", "--out", "a.wav")
    first, second, *_ = err.splitlines()
    assert status == 0 and first.startswith("ann, ") and second == "loading"


@pytest.mark.parametrize("arguments", [["--list-voices"], ["--help"], ["--version"], ["--help-all"]])
def test_where_nothing_is_spoken_nobody_is_announced(run, arguments):
    assert run(*arguments)[2] == ""


def test_a_flag_without_its_value_is_left_to_the_parser(run):
    status, _, err = run("Hello.", "--voice")
    assert status == 2 and "voice" in err and "Traceback" not in err


def test_where_torch_knows_better_the_line_is_said_again(run, monkeypatch, small_voice_folder):
    """The driver is there, say, but of no use: what is told from files is then another model than what speaks."""
    found = iter([True, False])
    monkeypatch.setattr(announcing, "has_cuda", lambda: next(found))
    _, _, err = run("Hello.", "--model", "auto", "--max-new-tokens", 70)
    first, loading, second, *_ = err.splitlines()
    assert (first, loading) == (f"tara, {ORPHEUS_3B}", "loading") and second.startswith("nora, the demo voice: no CUDA")


def test_it_is_not_said_twice_otherwise(run):
    assert run("Hello.", "--out", "a.wav")[2].count("ann, ") == 1
