"""Sentences to hear a voice with, in the languages of Orpheus' models. Without tags: those depend on the model."""

import glob

from orpheus.common import command
from orpheus.common.options import ROOT
from orpheus.speech.options import EXAMPLES
from orpheus.text.languages import ENGLISH, HEARD

_OTHERS = {
    "de": (
        "Guten Morgen! Haben Sie gut geschlafen?",
        "Als der Regen aufgehört hatte, gingen wir hinunter zum Hafen.",
        "Das hätte ich nie gedacht. Erzähl mir doch, wie es weiterging.",
    ),
    "fr": (
        "Bonjour ! Avez-vous bien dormi ?",
        "Quand la pluie a cessé, nous sommes descendus jusqu'au port.",
        "Je ne l'aurais jamais cru. Raconte-moi donc la suite.",
    ),
    "es": (
        "¡Buenos días! ¿Ha dormido usted bien?",
        "Cuando dejó de llover, bajamos hasta el puerto.",
        "Nunca lo habría pensado. Cuéntame cómo siguió la historia.",
    ),
    "it": (
        "Buongiorno! Ha dormito bene?",
        "Quando smise di piovere, scendemmo fino al porto.",
        "Non l'avrei mai pensato. Raccontami come è andata a finire.",
    ),
    "ko": (
        "안녕하세요! 잘 주무셨어요?",
        "비가 그친 뒤에 우리는 항구까지 걸어 내려갔습니다.",
        "그런 일은 생각도 못 했어요. 그다음에 어떻게 됐는지 말해 주세요.",
    ),
    "zh": (
        "早上好！您睡得好吗？",
        "雨停了以后，我们一直走到了港口。",
        "我从来没有想到会这样。请告诉我后来怎么样了。",
    ),
    "hi": (
        "सुप्रभात! क्या आप अच्छी तरह सोए?",
        "बारिश रुकने के बाद हम नीचे बंदरगाह तक गए।",
        "मैंने ऐसा कभी नहीं सोचा था। बताइए, फिर क्या हुआ?",
    ),
}
_LONGEST = 200  # characters of a sample sentence
_FEW = 3
# Where recordings of voices are, NAME.* or NAME_*: as the model speaks, else those that it was made from.
_RECORDINGS = (ROOT / "docs" / "voices", ROOT / "assets" / "evaluation" / "demo_voice_reference")


def example_sentences(language):
    """Sentences in a language; an empty tuple where there are none."""
    return EXAMPLES if language == ENGLISH else _OTHERS.get(language, ())


def sample_sentences(language, examples, english=EXAMPLES, say=True):
    """A few sentences to hear a fine-tune with, before, during and after training.

    examples: of the data, with their `text`: the first that are not long serve where the project has no sentences in the language;
    english: those in English; say: whether a line says that the data's own are spoken
    """
    sentences = english if language == ENGLISH else example_sentences(language)
    if sentences:
        return tuple(sentences[:_FEW])
    texts = list(dict.fromkeys(example.text for example in examples))
    own = [text for text in texts if len(text) <= _LONGEST] or sorted(texts, key=len)
    if say:
        command.say(
            f"no sample sentences in {HEARD.get(language, language)} here: the first texts of the data are spoken"
        )
    return tuple(own[:_FEW])


def samples_of(voices):
    """{voice: a recording of it in this project}, those that there are."""
    found = {}
    for voice in voices:
        for folder in _RECORDINGS:
            if path := next(iter(sorted(folder.glob(f"{glob.escape(voice)}[._]*"))), None):
                found.setdefault(voice, path)
    return found
