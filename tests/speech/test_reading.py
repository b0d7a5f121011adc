"""Who says a text and how it is read: names at the beginning of lines, descriptions, speaker tokens, tags."""

import warnings
from dataclasses import replace

import pytest

from orpheus.common.errors import InputError, OrpheusWarning
from orpheus.engines.options import SamplingOptions
from orpheus.speech.model import description_of
from orpheus.speech.options import LongTextOptions, TextOptions
from orpheus.speech.request import plan_request
from orpheus.speech.synthesis import OrpheusInference
from orpheus.text.known_models import KNOWN_MODELS
from tests.fakes.checkpoints import save_adapter, save_voice

SPOKEN = pytest.warns(OrpheusWarning, match="spoken by that voice, without the name")


@pytest.fixture(scope="module")
def model(small_voice):
    return small_voice.model


def plan(model, text, voice=None, **writing):
    return plan_request(model, text, voice, SamplingOptions(seed=3), TextOptions(**writing), LongTextOptions())


def said(model, text, voice=None, **writing):
    """[(prompt, seed)] of a plan."""
    return [(utterance.prompt, utterance.seed) for utterance in plan(model, text, voice, **writing).utterances]


def describing(model, **changes):
    return replace(model, description=replace(model.description, **changes))


# --- names ---


@pytest.mark.parametrize(
    "text", ["bob: Good morning.", "Bob : Good morning.", "  BOB:Good morning.", "bob:\nGood morning."]
)
def test_a_name_before_the_text_is_the_voice(model, text):
    with pytest.warns(OrpheusWarning, match=r"without the name: bob \(1\)\. --line-voices off"):
        found = said(model, text)
    assert found == said(model, "Good morning.", "bob") != said(model, "Good morning.", "ann")


def test_a_name_and_the_same_voice_are_not_doubled(model):
    with SPOKEN:
        assert said(model, "bob: Good morning.", "bob") == said(model, "Good morning.", "bob")


def test_another_voice_than_the_name_reads_it_aloud(model):
    with pytest.warns(OrpheusWarning, match="names bob, but --voice is ann: the names are read aloud"):
        found = said(model, "bob: Good morning.", "ann")
    assert found == said(model, "bob: Good morning.", "ann", line_voices="off")


def test_a_name_that_is_no_voice_is_text(model):
    assert said(model, "carol: Good morning.") == [(model.prompts.prompt("carol: Good morning.", "ann"), 3)]
    assert said(model, "bob: Hi.", line_voices="off") == [(model.prompts.prompt("bob: Hi.", "ann"), 3)]


def test_a_dialogue_speaks_each_line_with_its_voice(model):
    text = "It was late.\nbob: Who is there?\nann: Me.\nIt is cold.\nBOB: Come in."
    with SPOKEN:
        request = plan(model, text)
    turns = [("It was late.", "ann"), ("Who is there?", "bob"), ("Me. It is cold.", "ann"), ("Come in.", "bob")]
    assert [u.prompt for u in request.utterances] == [model.prompts.prompt(*turn) for turn in turns]
    assert [u.seed for u in request.utterances] == [3, 4, 5, 6] and request.voice == "ann, bob"
    assert {u.pause for u in request.utterances} == {LongTextOptions().paragraph_pause}


def test_what_is_odd_in_a_dialogue_is_said(model):
    with (
        pytest.warns(OrpheusWarning, match="names that are no voices, and are read aloud .*: Carol"),
        pytest.warns(OrpheusWarning, match="a line of ann says nothing"),
        SPOKEN,
    ):
        assert len(said(model, "bob: Hi.\nCarol: Hello.\nann:\nbob: Bye.")) == 2


def test_a_script_without_any_known_voice_is_said(model):
    with pytest.warns(OrpheusWarning) as found:
        said(model, "Tess: Hi.\nOmar: Hello.\nTess: Bye.")
    assert [str(warning.message) for warning in found] == [
        "lines begin with names, and none is a voice: Tess, Omar; they are read aloud (the voices are ann, bob)"
    ]


@pytest.mark.parametrize(
    "text", ["Note: it rains.", "He wrote: yes.\nThen he left.\nSo: did she.\nAll went.\nFine.", "At 10:30."]
)
def test_a_colon_makes_no_script(model, text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said(model, text)


def test_a_dialogue_is_spoken_and_streamed_alike(small_voice):
    import numpy as np

    with pytest.warns(OrpheusWarning):
        whole = small_voice.synthesize("ann: One.\nbob: Two.", seed=1)
        streamed = np.concatenate(list(small_voice.stream("ann: One.\nbob: Two.", seed=1)))
    assert whole.voice == "ann, bob" and np.abs(whole.audio - streamed).max() < 1e-4


def test_no_voice_can_be_asked_for(model):
    assert said(model, "Hi.", "none") == [(model.prompts.prompt("Hi."), 3)]


# --- other prompts ---


@pytest.fixture(scope="module")
def relatives(tmp_path_factory):
    """Voices with the added tokens of Maya1 and Veena, told by these alone."""
    folder = tmp_path_factory.mktemp("relatives")
    maya = save_voice(folder / "m", voices=None, more=("<laugh_harder>", "<whisper>"), frames=25, margin=10.0)
    veena = save_voice(
        folder / "v", voices=None, more=("<spk_kavya>", "<spk_agastya>", "<spk_mohini>"), frames=25, margin=10.0
    )
    with pytest.warns(OrpheusWarning, match="taken for a copy or fine-tune of .*say --like NAME"):
        return OrpheusInference(str(maya), lora="none"), OrpheusInference(str(veena), lora="none")


def test_a_description_is_repeated_for_every_piece(relatives):
    maya, _ = relatives
    text = '<description="Old, slow"> One sentence here. Another sentence there.'
    found = plan_request(maya.model, text, None, SamplingOptions(), TextOptions(), LongTextOptions(piece_seconds=1.8))
    assert [u.prompt for u in found.utterances] == [
        maya.prompts.prompt("One sentence here.", "Old, slow"),
        maya.prompts.prompt("Another sentence there.", "Old, slow"),
    ]
    assert said(maya.model, "Hi <laugh_harder>", "A calm voice")[0][0] == maya.prompts.prompt(
        "Hi <laugh_harder>", "A calm voice"
    )
    assert said(maya.model, "Hi.")[0][0] == maya.prompts.prompt("Hi.", KNOWN_MODELS["maya1"].default_voice)
    with pytest.raises(InputError, match="the text describes its voice, and --voice another"):
        said(maya.model, text, "Young")
    assert maya.synthesize("Hi.", "A calm voice").seconds > 0


def test_speaker_tokens_are_voices_and_not_words(relatives):
    _, veena = relatives
    assert veena.voices == ("kavya", "agastya", "maitri", "vinaya", "mohini") and veena.default_voice == "kavya"
    assert said(veena.model, "Hi.")[0][0] == veena.prompts.prompt("Hi.", "kavya")
    with SPOKEN:
        assert said(veena.model, "<spk_mohini> Hi.")[0][0] == veena.prompts.prompt("Hi.", "mohini")
    with pytest.warns(
        OrpheusWarning, match="<spk_agastya> inside a text is read as text: a voice is chosen with --voice"
    ):
        prompt = said(veena.model, "Hi <spk_agastya> there.")[0][0]
    assert veena.prompts.tokenizer.convert_tokens_to_ids("<spk_agastya>") not in prompt
    with pytest.raises(
        InputError, match="voice 'maitri' has no token in the model's vocabulary; it has kavya, agastya, mohini"
    ):
        said(veena.model, "Hi.", "maitri")
    assert veena.synthesize("Hi.").seconds > 0


def test_like_says_what_a_model_is(small_voice_folder):
    tts = OrpheusInference(str(small_voice_folder), lora="none", like="3b-de-ft")
    assert tts.voices == ("jana", "thomas", "max") and tts.model.description.language == "de"
    with pytest.raises(InputError, match="unknown voice 'ann'; .* knows jana, thomas, max"):
        tts.synthesize("Hallo.", "ann")
    assert description_of(str(small_voice_folder), "none", "cpu", "veena").prompt == "speaker_token"


# --- tags ---


def test_a_tag_that_an_adapter_was_taught_is_known(small_voice_folder, tmp_path):
    from orpheus.text.description import ModelDescription, taught, write_description

    adapter = save_adapter(tmp_path / "lora", small_voice_folder, str(small_voice_folder))
    write_description(adapter, taught(ModelDescription(), ("mara",), {"happy": 40, "작은 웃음": 12, "hapy": 1}))
    model = OrpheusInference(str(small_voice_folder), lora=str(adapter)).model
    assert said(model, "<happy> <작은 웃음> <laugh>")[0][0] == model.prompts.prompt(
        "<happy> <작은 웃음> <laugh>", "mara"
    )
    with pytest.warns(OrpheusWarning, match=r"read as the model knows them: \[happy\] as <happy>$"):
        assert said(model, "Oh [happy] day <Happy>") == said(model, "Oh <happy> day <happy>")
    with pytest.warns(OrpheusWarning, match="the tag <hapy> was in the recordings only once"):
        said(model, "<hapy>")
    with pytest.warns(OrpheusWarning, match="unknown tag <sad> is read as text.*<happy>.*<작은 웃음>"):
        said(model, "<sad> day")


def test_what_is_not_understood_is_named(model):
    with (
        pytest.warns(OrpheusWarning, match=r"\*whispers\* is read as text: a sound is written as a tag, <laugh>"),
        pytest.warns(OrpheusWarning, match="HTML is read as text: <p>. Leave it out"),
    ):
        said(model, "*whispers* Come <p> here.")
    with pytest.warns(OrpheusWarning, match="unknown tag <laugh> is read as text: The model is said to know none"):
        said(describing(model, tags={}), "<laugh> Hi.")


# --- another language ---


def test_text_in_another_language_is_told_where_the_model_states_its_own(model):
    stating = describing(model, language_stated=True)
    with pytest.warns(OrpheusWarning, match="in Chinese writing, .* English: it cannot say 你 好. Take a model"):
        said(stating, "你好")
    with pytest.warns(OrpheusWarning, match="looks German"):
        said(stating, "Ich habe das nicht gesehen, und sie auch nicht.")
    said(stating, "Good morning.")
    said(stating, "你好", language="zh")  # the user says that it can
    said(model, "你好")  # nobody says what it speaks


def test_each_voice_has_its_language(model):
    stating = describing(model, language_stated=True, languages={"bob": "de"})
    said(stating, "Ich habe das nicht gesehen, und sie auch nicht.", "bob")
    with pytest.warns(OrpheusWarning, match="the model speaks German"):
        said(stating, "This is the text that they have not seen.", "bob")


def test_the_demo_voice_states_its_language():
    assert description_of("demo", "none").language_stated
    assert all(row.language_stated for row in KNOWN_MODELS.values())
