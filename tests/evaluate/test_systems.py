"""What is judged: lists of sentences, and what a system's name stands for."""

import gzip
import json
import re

import numpy as np
import pytest

from orpheus.common.errors import InputError
from orpheus.common.options import ROOT
from orpheus.evaluate.options import SENTENCES, ListOptions
from orpheus.evaluate.systems import Clip, parse_system, read_sentences, spread
from orpheus.text.cleaning import is_speakable
from orpheus.text.tags import KNOWN_TAGS, find_tags


def test_the_bundled_sentences():
    sentences = read_sentences(SENTENCES)
    assert len(sentences) == len({s.text for s in sentences}) == 100
    assert all(is_speakable(s.text) and s.kind for s in sentences)
    tags = [tag for s in sentences for tag in find_tags(s.text)]
    assert set(tags) == set(KNOWN_TAGS) and all(tags.count(tag) >= 3 for tag in KNOWN_TAGS)
    assert sum(s.kind == "tag" for s in sentences) == 30


def test_the_bundled_sentences_are_in_no_corpus():

    known = set()
    for name in ("sentences", "more_sentences"):
        corpus = gzip.decompress((ROOT / f"recipes/demo_voice/corpus/{name}.jsonl.gz").read_bytes()).decode()
        known |= {json.loads(line)["text"].strip().lower() for line in corpus.splitlines()}
    known |= {
        line.partition(": ")[2].strip().lower()
        for line in (ROOT / "recipes/demo_voice/judge_sentences.txt").read_text().splitlines()
    }
    for sentence in read_sentences(SENTENCES):
        for part in re.split(r"<\w+>|(?<=[.!?])\s", sentence.text):
            assert part.strip().lower() not in known - {""}, part


def test_sentences_from_files(tmp_path):
    (tmp_path / "a.txt").write_text("One.\n\nTwo.\n")
    (tmp_path / "b.jsonl").write_text('{"text": "One.", "voice": "theo"}\n')
    assert [s.text for s in read_sentences(tmp_path / "a.txt")] == ["One.", "Two."]
    (tmp_path / "c.jsonl").write_text('{"text": "It is $5.", "spoken": "It is five dollars."}\n')
    spoken = read_sentences(tmp_path / "c.jsonl")[0].spoken
    assert spoken == "It is five dollars." == Clip("It is $5.", np.zeros(1), spoken=spoken).words
    assert Clip("It is five.", np.zeros(1)).words == "It is five."
    assert read_sentences(tmp_path / "b.jsonl")[0].voice == "theo"
    (tmp_path / "b.jsonl").write_text('{"text": "One."}\n{"txt": 1}\n')
    with pytest.raises(InputError, match="b.jsonl:2: there is no text"):
        read_sentences(tmp_path / "b.jsonl")
    (tmp_path / "a.txt").write_text("One.\n...\n")
    with pytest.raises(InputError, match="a.txt:2: nothing to speak"):
        read_sentences(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("\n")
    with pytest.raises(InputError, match="holds no sentences"):
        read_sentences(tmp_path / "a.txt")


def test_a_limit_is_spread_over_the_list():
    assert spread(list(range(100)), 4) == [0, 25, 50, 75]
    assert spread([1, 2], 5) == spread([1, 2], None) == [1, 2]
    with pytest.raises(InputError, match="limit must be a whole number of at least 1, not 0"):
        ListOptions(limit=0)


def test_what_a_spec_means(tmp_path, small_voice_folder):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")

    def facts(spec):
        system = parse_system(spec)
        return system.name, system.recordings and system.recordings.name, system.model, system.lora

    assert facts("base=demo") == ("base", None, "demo", "none")
    assert facts("tuned=demo+lora_model") == ("tuned", None, "demo", "lora_model")
    assert facts("big=unsloth/orpheus-3b-0.1-ft") == ("big", None, "unsloth/orpheus-3b-0.1-ft", "none")
    assert facts(f"a={tmp_path / 'adapter'}") == ("a", None, "auto", str(tmp_path / "adapter"))
    assert facts(f"m={small_voice_folder}") == ("m", None, str(small_voice_folder), "none")
    assert facts(f"r={tmp_path}") == ("r", tmp_path.name, None, "none")
    for spec, model, url in (
        ("s=demo@http://localhost:8080", "demo", "http://localhost:8080"),
        ("s=org/a=b@https://host/v1", "org/a=b", "https://host/v1"),
        ("s=http://localhost:8080", "auto", "http://localhost:8080"),
        ("s=http://me:secret@host", "auto", "http://me:secret@host"),
    ):
        system = parse_system(spec)
        assert (system.model, system.url, system.lora, system.recordings) == (model, url, "none", None)
    for wrong in ("demo", "=demo", "base=", "x=demo+"):
        with pytest.raises(InputError):
            parse_system(wrong)
