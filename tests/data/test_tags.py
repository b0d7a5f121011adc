"""Tags of transcripts: read as speaking reads them, counted, and handed to the adapter's description."""

from orpheus.data.examples import make_examples
from orpheus.data.options import DataOptions
from orpheus.engines.options import SamplingOptions
from orpheus.speech.options import LongTextOptions, TextOptions
from orpheus.speech.request import plan_request
from tests.fakes.recordings import measured

TEXTS = [
    "Oh [laughs] that is good.",
    "Oh <laugh> that is bad.",
    "*sighs* It is late (cough) now.",
    "<happy> One of many.",
    "<happy> Two of many.",
    "[happy] Three of many.",
    "<Happy> Four of many.",
    "It made me *laugh* a lot.",
    "This is <b>bold</b> now.",
    "정말 <작은 웃음> 그래요, 그렇죠.",
    "A <laguh> that is a slip.",
]


def test_transcripts_are_read_as_texts_are(tmp_path, small_voice):
    kept = [recording.text for recording in measured(tmp_path, TEXTS).kept]
    assert kept[:3] == ["Oh <laugh> that is good.", "Oh <laugh> that is bad.", "<sigh> It is late <cough> now."]
    assert kept[5:9] == ["<happy> Three of many.", "<happy> Four of many.", TEXTS[7], "This is bold now."]
    planned = plan_request(
        small_voice.model, TEXTS[1], None, SamplingOptions(), TextOptions(), LongTextOptions(piece_seconds=60)
    )
    assert kept[1] == planned.utterances[0].text


def test_the_report_counts_them(tmp_path):
    report = measured(tmp_path, TEXTS).report()
    notes = "\n".join(report.notes)
    assert "learnt as: [laughs] as <laugh> 1, *sighs* as <sigh> 1, (cough) as <cough> 1, [happy] as <happy> 1." in notes
    assert "Looks like a tag, but is learnt as text: *laugh* 1." in notes
    assert report.summary()["tags"] == {"laugh": 2, "sigh": 1, "cough": 1}
    assert report.summary()["unknown_tags"] == {"happy": 4, "작은 웃음": 1, "laguh": 1}
    assert "laguh 1 (laugh?)" in report.table()
    assert report.taught_tags() == {"happy": 4, "laugh": 2, "sigh": 1, "cough": 1, "작은 웃음": 1, "laguh": 1}


def test_the_base_models_tags_are_known_too(tmp_path):
    report = measured(tmp_path, TEXTS, tags=("작은 웃음", "happy")).report()
    assert report.summary()["tags"] == {"happy": 4, "laugh": 2, "sigh": 1, "cough": 1, "작은 웃음": 1}
    assert report.summary()["unknown_tags"] == {"laguh": 1}


def test_a_tag_of_its_own_is_not_taken_for_another_spelling(tmp_path):
    """Data that writes <giggling> throughout means <giggles>; a rare tag of a name of its own stays."""
    kept = [
        r.text for r in measured(tmp_path, ["<giggling> a b c.", "<sob> a b c.", "[sob] a b d.", "*sobs* a b e."]).kept
    ]
    assert kept == ["<giggles> a b c.", "<sob> a b c.", "[sob] a b d.", "*sobs* a b e."]
    more = measured(tmp_path / "more", [f"<sob> {word} a b." for word in ("one", "two", "three")] + ["*sobs* a b e."])
    assert more.kept[-1].text == "<sob> a b e."


def test_a_tokenizers_own_tags_are_learnt_as_tokens(tmp_path):
    from orpheus.speech.synthesis import OrpheusInference
    from tests.fakes.checkpoints import save_voice

    folder = save_voice(tmp_path / "orpheus-3b-0.1-ft", more=("<laugh>", "<happy>"), frames=25, margin=10.0)
    tts = OrpheusInference(str(folder), lora="none")
    found = measured(tmp_path, TEXTS[:4])
    options = DataOptions(dataset=found.dataset, code_cache=tmp_path / "cache", held_out=0)
    examples = make_examples(found, tts.codec, tts.prompts, options, progress=False).train
    laugh, happy = tts.prompts.tokenizer.convert_tokens_to_ids(["<laugh>", "<happy>"])
    assert [laugh in example.input_ids for example in examples] == [True, True, False, False]
    assert [happy in example.input_ids for example in examples] == [False, False, False, True]
