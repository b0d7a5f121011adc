"""What a model of one language is told about text in another."""

import pytest

from orpheus.text.foreign import foreign_to, guessed_language, writing_of


@pytest.mark.parametrize(
    "text, language, said",
    [
        ("你好", "en", "the text is in Chinese writing, and the model speaks English: it cannot say 你 好"),
        ("Я люблю", "de", "the text is in Cyrillic writing, and the model speaks German: it cannot say л ю Я б"),
        ("Good 안 day to all of you", "en", "1 of the text's 18 letters is in Korean writing"),
        ("नमस्ते <laugh>", "fr", "the text is in Devanagari writing, and the model speaks French"),
        ("Hello there, my friends.", "zh", "the text is in Latin writing, and the model speaks Chinese"),
        ("ゲームをする人", "zh", "the text is in Japanese writing, and the model speaks Chinese: it cannot say"),
        ("Guten Morgen, wie haben Sie heute geschlafen?", "fr", "the text looks German"),
        ("Ich weiß nicht, ob sie das haben.", "en", "the text looks German (ich, nicht, sie, das)"),
        ("Je ne sais pas où est la maison.", "es", "the text looks French"),
        ("The cat and the dog are in the house with you.", "it", "the text looks English"),
    ],
)
def test_foreign_text_is_told(text, language, said):
    (found,) = foreign_to(text, language)
    assert said in found


@pytest.mark.parametrize(
    "text, language",
    [
        ("I'd like a café au lait and a bit of Schadenfreude, señor.", "en"),
        ("The de facto leader was, per the era, in a state of disbelief.", "en"),
        ("No, no, no!", "en"),
        ("Er ist hier.", "en"),  # too short to tell
        ("我用 iPhone 打电话", "zh"),
        ("안녕하세요, WiFi 연결됐어요?", "ko"),
        ("漢字とひらがなとカタカナ", "ja"),
        ("Привіт <laugh> усім", "uk"),
        ("नमस्ते दुनिया", "hi"),
        ("你好", "xx"),  # a language whose writing is not known
        ("12:30 — 50 %", "en"),
        ("ｆｕｌｌ ｗｉｄｔｈ", "en"),
        ("<laugh> <sigh>", "zh"),
    ],
)
def test_nothing_is_said_where_nothing_is_plain(text, language):
    assert foreign_to(text, language) == []


@pytest.mark.parametrize(
    "language, text",
    [
        ("en", "It was the best of times, it was the worst of times."),
        ("de", "Als der Regen aufgehört hatte, gingen wir hinunter zu den Leuten, die ich mit dem Boot kannte."),
        ("fr", "Quand la pluie a cessé, nous sommes descendus dans le port avec les autres."),
        ("es", "Cuando dejó de llover, bajamos con los otros hasta el puerto, y no se lo dije."),
        ("it", "Quando smise di piovere, scendemmo con gli altri fino al porto, ma non è questo che ho visto."),
        ("pt", "Quando parou de chover, não fomos com os outros para o porto, mas ele foi."),
        ("nl", "Toen het niet meer regende, liepen we naar de haven, maar ik was er ook met hem."),
        (None, "Call me Ishmael."),
        (None, "Lorem ipsum dolor sit amet, consectetur adipiscing elit."),
    ],
)
def test_the_language_is_guessed_by_its_small_words(language, text):
    assert guessed_language(text) == language


def test_writings():
    assert [writing_of(c) for c in "aé你한あЖ\ue000"] == ["LATIN", "LATIN", "CJK", "HANGUL", "HIRAGANA", "CYRILLIC", ""]
