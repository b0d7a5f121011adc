"""Twenty-odd ways to get it wrong: each ends in a clear message and status 2, or in sensible speech.

A row: what is wrong, the arguments, the status, and what the message must say ("" where there is speech and no word).
"""

import builtins
import shutil
from pathlib import Path

import pytest
import soundfile

import inference
from orpheus.common import audio
from orpheus.speech import output
from tests.fakes.checkpoints import save_adapter

LONG = "A hundred thousand characters of text, sentence after sentence. " * 1563
CONTROL = "Say <custom_token_2> and <|eot_id|> <|begin_of_text|> aloud."

TABLE = [
    # what                        arguments                                         status  message
    ("empty text", [""], 2, "nothing to speak in ''"),
    ("white space", [" \n\t "], 2, "nothing to speak"),
    ("punctuation alone", ["... !?"], 2, "a text needs a letter, a digit or a tag"),
    ("emoji alone", ["😀🎉"], 2, "nothing to speak"),
    ("only tags", ["<laugh> <sigh>"], 0, ""),
    ("one letter", ["A"], 0, ""),
    ("emoji among words", ["Well done 😀!"], 0, "1 characters that cannot be spoken were left out: '😀' x1"),
    ("control strings", [CONTROL], 0, ""),
    ("other scripts", ["Привет, 你好, مرحبا."], 0, ""),
    ("an unknown tag", ["Ha <laguhter> ha."], 0, "unknown tag <laguhter>"),
    ("a word without end", ["x" * 3000], 0, ""),
    ("NaN temperature", ["Hi.", "--temperature", "nan"], 2, "temperature must be 0 or between 0.01 and 5, not nan"),
    (
        "negative temperature",
        ["Hi.", "--temperature", "-1"],
        2,
        "temperature must be 0 or between 0.01 and 5, not -1.0",
    ),
    ("tiny temperature", ["Hi.", "--temperature", "1e-38"], 2, "between 0.01 and 5, not 1e-38"),
    ("top_p 0", ["Hi.", "--top-p", "0"], 2, "top_p must be above 0 and at most 1, not 0.0"),
    ("penalty 0", ["Hi.", "--repetition-penalty", "0"], 2, "repetition_penalty must be between 0.5 and 5, not 0.0"),
    (
        "too few tokens",
        ["Hi.", "--max-new-tokens", "3"],
        2,
        "max_new_tokens must be a whole number of at least 7, not 3",
    ),
    ("more tokens than positions", ["Hi.", "--max-new-tokens", "99999"], 2, "exceed the model's 16384 positions"),
    ("negative seed", ["Hi.", "--seed", "-1"], 2, "seed must be a whole number of at least 0, not -1"),
    ("batch size 0", ["Hi.", "--batch-size", "0"], 2, "batch_size must be a whole number of at least 1, not 0"),
    ("an unknown flag", ["Hi.", "--speed", "2"], 2, "--speed"),
    ("an unknown voice", ["Hi.", "--voice", "carol"], 2, "unknown voice 'carol'"),
    ("a missing model folder", ["Hi.", "--model", "./nowhere"], 2, "'./nowhere' is not a folder"),
    ("a missing adapter", ["Hi.", "--lora", "./nowhere"], 2, "'./nowhere' is not a folder"),
    ("a missing codec", ["Hi.", "--codec", "./nowhere"], 2, "'./nowhere' is not a folder"),
    ("a hub id, offline", ["Hi.", "--model", "me/mine"], 2, "me/mine cannot be fetched"),
    ("a missing text file", ["--text-file", "none.txt"], 2, "--text-file none.txt cannot be read"),
    ("a text and a text file", ["Hi.", "--text-file", "none.txt"], 2, "give a text or --text-file, not both"),
    ("one file for two texts", ["Hi.", "Ho.", "--out", "x.wav"], 2, "names one file for 2 texts"),
    ("a stream of two texts", ["Hi.", "Ho.", "--stream", "pcm"], 2, "--stream speaks one text, but 2 were given"),
    ("a stream and a file", ["Hi.", "--stream", "wav", "--out", "x.wav"], 2, "give only one of them"),
    ("another format", ["Hi.", "--out", "x.wma"], 2, ".wma cannot be written; give a name that ends in"),
    ("two formats", ["Hi.", "--out", "x.mp3", "--format", "flac"], 2, "x.mp3 and --format flac are two formats"),
    ("a format that there is not", ["Hi.", "--format", "wma"], 2, "wma"),
    ("a file that is a folder", ["Hi.", "--out", "folder.wav"], 2, "folder.wav is a folder"),
    ("a long name", ["Hi.", "--out", "x" * 300 + ".wav"], 2, "at most 255 bytes, not 304"),
    ("standard input twice", ["-", "-"], 2, "give a single -"),
    ("a device that is not here", ["Hi.", "--device", "mps"], 2, "no device 'mps' here"),
    ("no model", ["Hi.", "--model", ""], 2, "'' is not a folder"),
    ("a folder that is a file", ["Hi.", "--out", "file/out"], 2, "cannot be created"),
]


@pytest.mark.parametrize("arguments, status, message", [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_bad_input(run, arguments, status, message):
    Path("file").touch()
    Path("folder.wav").mkdir()
    found, _, err = run(*arguments)
    assert found == status
    assert "Traceback" not in err
    assert message in " ".join(err.replace("│", " ").split())
    if status == 0:
        assert soundfile.info("generated_audio/output_0.wav").frames >= 1000


def test_a_hundred_thousand_characters(run):
    """Nearly 800 pieces: a short cap keeps the test short, the rest is real."""
    status, out, err = run(LONG, "--max-new-tokens", 7, "--batch-size", 400)
    assert status == 0 and "cut off after 0.1 s" in err
    assert soundfile.info("generated_audio/output_0.wav").duration > 100


def test_truncated_weights(run, small_voice_folder, in_empty_folder):
    broken = shutil.copytree(small_voice_folder, in_empty_folder / "broken")
    data = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(data[: len(data) // 2])
    status, _, err = run("Hi.", model=broken)
    assert status == 2 and "cannot be read as safetensors" in err and "Copy or download it again" in err


def test_the_wrong_adapter(run, small_voice_folder, in_empty_folder):
    save_adapter(in_empty_folder / "lora_model", small_voice_folder, "unsloth/orpheus-3b-0.1-ft")
    status, _, err = run("Hi.")
    assert status == 2
    assert f"made for unsloth/orpheus-3b-0.1-ft, not for {small_voice_folder}" in err and "--lora none" in err


def test_a_read_only_output_folder(run, monkeypatch, in_empty_folder):
    """By permission where the tests run as a user, simulated where they run as root."""
    folder = in_empty_folder / "sealed"
    folder.mkdir(mode=0o555)
    monkeypatch.setattr(output.os, "access", lambda path, mode: Path(path) != folder)
    status, _, err = run("Hi.", "--out", folder)
    assert status == 2 and "is not writable; choose another" in err


def test_a_full_disk(run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(audio.os, "fsync", full)
    status, _, err = run("Hi.")
    assert status == 2 and "output_0.wav cannot be written: No space left on device" in err
    assert not list(Path("generated_audio").iterdir())


def test_a_text_file_that_is_not_text(run):
    Path("photo.txt").write_bytes(b"\xff\xfe\x00\xd8")
    status, _, err = run("--text-file", "photo.txt")
    assert status == 2 and "cannot be read as UTF-8 text" in err


def test_standard_input_that_is_not_text(run):
    status, _, err = run("-", stdin=b"caf\xe9")
    assert status == 2 and "standard input is not UTF-8 text" in err


def test_a_byte_order_mark_is_no_character(run):
    Path("windows.txt").write_bytes(b"\xef\xbb\xbfHello.")
    status, _, err = run("--text-file", "windows.txt")
    assert status == 0 and "left out" not in err


def test_ctrl_c(run, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(inference, "_speak", interrupt)
    status, _, err = run("Hi.")
    assert status == 130 and "Traceback" not in err


def test_not_a_string(small_voice):
    for text in (None, 5, b"Hi."):
        with pytest.raises(builtins.ValueError, match="must be a string"):
            small_voice.synthesize(text)
