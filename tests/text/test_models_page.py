"""docs/models.md says what the code knows: known models, prompts, tags, descriptions, dialogues."""

import json
import re

import pytest

from orpheus.common.options import ROOT
from orpheus.common.tokens import TokenLayout
from orpheus.speech.reference import CONTEXT_TOKENS, LONGEST_SECONDS, SHORTEST_SECONDS
from orpheus.text.description import read_values
from orpheus.text.identify import like
from orpheus.text.known_models import KNOWN_MODELS, known_model
from orpheus.text.prompt import FORMATS, PromptBuilder
from orpheus.text.tags import find_tags, spell_tags
from orpheus.text.turns import split_turns
from tests.fakes.checkpoints import ORPHEUS_LAYOUT

PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")


def table(header):
    """Rows of the table whose header begins so, as lists of cells."""
    lines = PAGE[PAGE.index(f"| {header}") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_the_table_is_that_of_the_code():
    rows = table("`--like`")
    assert [names(row[0])[0] for row in rows] == list(KNOWN_MODELS)
    for (name,), hub, voices, tags, language, prompt, clips, ran in ((names(row[0]), *row[1:]) for row in rows):
        known = KNOWN_MODELS[name]
        assert {known_model(one).name for one in names(hub)} == {name}
        assert tuple(names(voices)) == known.voices or known.voices[:2] == tuple(names(voices)) and "38: " in voices
        assert voices != "none" or known.default_voice is None
        assert (
            names(tags) == [f"<{tag}>" for tag in known.tags] and language.split(",")[0].split(" ")[0] == known.language
        )
        assert names(prompt) == [known.prompt]
        assert (clips, ran) == tuple("yes" if fact else "no" for fact in (known.references, known.checked))


def test_the_description_on_the_page_is_read(tmp_path):
    (tmp_path / "orpheus.json").write_text(re.search(r"```\n(\{.*?\n\})\n```", PAGE, re.S)[1], encoding="utf-8")
    found = like(str(tmp_path))
    assert (found.name, found.voices, found.tags) == ("orpheus-3b-ft", ("mara", "ugo"), {"laugh": 336, "happy": 41})
    assert found.language_of("ugo") == "it" and found.piece_seconds == 8
    assert set(json.loads((tmp_path / "orpheus.json").read_text())) == set(read_values(tmp_path / "orpheus.json"))


@pytest.mark.parametrize("name, ids", table("prompt | ids"))
def test_prompts_are_as_the_page_has_them(relatives_tokenizer, name, ids):
    builder = PromptBuilder(relatives_tokenizer, ORPHEUS_LAYOUT, names(name)[0])
    t = TokenLayout()
    controls = dict(
        SOH=t.start_of_human,
        BOS=t.begin_of_text,
        EOT=t.end_of_turn,
        EOH=t.end_of_human,
        SOA=t.start_of_ai,
        SOS=t.start_of_speech,
    )
    expected = []
    for part in re.findall(r"`[^`]+`|[A-Z]+", ids.replace("\\|", "|")):
        if part in controls:
            expected.append(controls[part])
        elif part.strip("`") in ("<|audio|>", "<spk_voice>"):
            expected.append(builder.tokenizer.convert_tokens_to_ids(part.strip("`").replace("voice", "kavya")))
        else:
            expected += builder.tokenizer(
                part.strip("`").replace("voice", "kavya").replace("text", "Hi"), add_special_tokens=False
            )["input_ids"]
    assert builder.prompt("Hi", "kavya") == expected
    assert len(table("prompt | ids")) == len(FORMATS)


@pytest.mark.parametrize("written, read", table("written | read as"))
def test_spellings_are_read_as_the_page_says(written, read):
    assert spell_tags(names(written)[0]).text == names(read)[0]


def test_tags_in_the_text_are_tags_and_the_others_are_not():
    section = PAGE[PAGE.index("## Tags") : PAGE.index("Other spellings")]
    before, after = section.split("HTML (", 1)
    assert [bool(find_tags(name)) for name in names(before) if name[0] in "<{"] == [True, True, True]
    assert [find_tags(name) for name in names(after)] == [[], [], [], [], []]


def test_the_dialogue_and_the_limits():
    dialogue = re.search(r"```\n(nora: .*?)```", PAGE, re.S)[1]
    assert split_turns(dialogue, ("nora", "theo")) == [("nora", "Are you still awake?"), ("theo", "I am now. <yawn>")]
    assert (
        f"{SHORTEST_SECONDS:g} to {LONGEST_SECONDS:g} s" in PAGE
        and f"at most {CONTEXT_TOKENS:,} tokens (30 s are 2,464)" in PAGE
    )
    assert -(-LONGEST_SECONDS * 24_000 // 2048) * 7 == 2464
