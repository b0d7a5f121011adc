"""Where sentences end in the world's scripts and languages."""

import pytest

from orpheus.text.cleaning import clean_text
from orpheus.text.sentences import sentence_spans, split_sentences

RUNNING = [
    ("de", ["Am 5. Juli kam der 3. Mann.", "Im 19. Jahrhundert war das anders.", "Er ist 5.", "Dann ging er."]),
    ("de", ["Das kostet ca. 20 Euro, z. B. Brot usw.", "Danach, d. h. am 12. März, war Schluss.", "Gut."]),
    (
        "de",
        [
            "Ihr 60. Jubiläum feierte Prof. Dr. Huber in der Hauptstr. 9.",
            "»Schön!«",
            "»Ja.«",
            "Friedrich II. von Preußen.",
        ],
    ),
    (
        "fr",
        [
            "M. Durand et Mme Petit citent l'art. 995.",
            "« Quoi ? »",
            "Il rit.",
            "Bonjour !",
            "C'est ce qu'il est.",
            "Oui.",
        ],
    ),
    (
        "es",
        [
            "La Srta. Gómez vive en la Avda. Mayor.",
            "En los EE. UU. hay cincuenta estados.",
            "Fue a EE. UU.",
            "Luego volvió.",
            "¿Qué?",
            "¡No!",
            "Nació en el 300 a. C.",
            "Luego murió.",
            "P. ej. Ana.",
        ],
    ),
    (
        "it",
        ["Il Dott. Rossi cita l'art. 6, ecc. ecc.", "Poi parla la sig.ra Bianchi.", "È nato nel 50 a.C.", "Che bello!"],
    ),
    ("pt", ["O Sr. Silva mora na Av. Central.", "A Dra. Lima também.", "Veja a pág. 12."]),
    ("cs", ["Přišel tzv. 5. května.", "Byl tam mj. Ing. Novák.", "Konec."]),
    ("pl", ["Mieszka przy ul. Długiej, np. tam.", "Urodził się w 1960 r.", "Potem wyjechał."]),
    ("ru", ["Он жил в г. Москве до 1990 г.", "Потом уехал и т. д.", "Это был я.", "А. С. Пушкин писал."]),
    ("tr", ["2. Dünya Savaşı bitti.", "Prof. Yılmaz geldi.", "Peki."]),
    ("el", ["Τι κάνεις;", "Ο κ. Παπάς ήρθε.", "Καλά."]),
    ("hi", ["डॉ. शर्मा आए।", "वह 5 बजे गया।", "क्या?", "हाँ॥"]),
    ("ur", ["وہ آیا۔", "کیا؟", "ہاں۔"]),
    ("ar", ["كيف حالك؟", "جاء د. أحمد.", "نعم!"]),
    ("fa", ["او رفت.", "چرا؟", "نمی\u200cدانم."]),
    ("hy", ["Նա եկավ։", "Ս. Դիլանյանը գնաց։", "Այո։"]),
    ("am", ["እሱ መጣ።", "ማን ነው፧", "አዎ።"]),
    ("my", ["သူလာတယ်။", "ဟုတ်တယ်။"]),
    ("km", ["គាត់មក។", "មែនហើយ។"]),
    ("ta", ["டி.எஸ். குமார் வந்தார்.", "ரூ. 470 கொடுத்தார்.", "சரி."]),
    ("en", ["We met at 3 p.m.", "Then we left.", "She moved to the U.S.", "After that, silence."]),
    (
        "en",
        ["Dr. K. Lee wrote to joe@mail.co.uk.", "Visit www.site.org/a.b?c=1 now.", "Pi is 3.14.", "Well...", "Yes."],
    ),
]


@pytest.mark.parametrize("language, sentences", RUNNING, ids=[language for language, _ in RUNNING])
def test_running_text(language, sentences):
    clean = [clean_text(sentence)[0] for sentence in sentences]
    assert split_sentences(" ".join(clean), language) == clean


@pytest.mark.parametrize(
    "language, text, sentences",
    [
        ("de", "Er ist 5. Dann ging er.", ["Er ist 5.", "Dann ging er."]),
        ("de", "Sie kam am 5. Mai. Er nicht.", ["Sie kam am 5. Mai.", "Er nicht."]),
        ("en", "Sie kam am 5. Juli an, der 3. Mann auch.", ["Sie kam am 5. Juli an, der 3. Mann auch."]),
        (
            "en",
            "We met at 3 p.m. Then we left at 4 p.m. Monday.",
            ["We met at 3 p.m.", "Then we left at 4 p.m. Monday."],
        ),
        ("fr", "« Tu viens ? » Il partit.", ["« Tu viens ? »", "Il partit."]),
        ("hi", "वह आया।वह गया॥ १२ ॥ ठीक", ["वह आया।", "वह गया॥ १२ ॥", "ठीक"]),
        ("ru", "В 1990 г. Он уехал в г. Томск.", ["В 1990 г.", "Он уехал в г. Томск."]),
        ("pl", "W 1960 r. Anna wyjechała.", ["W 1960 r.", "Anna wyjechała."]),
        ("zh", '他说："你好。"然后走了。好吗？', ['他说："你好。"', "然后走了。", "好吗？"]),
        ("zh", '"你好。"他说。真的吗?我不信!', ['"你好。"他说。', "真的吗?", "我不信!"]),
        (
            "ja",
            "「行こう。」と彼は言った。「うん。」彼女は笑った。",
            ["「行こう。」と彼は言った。", "「うん。」", "彼女は笑った。"],
        ),
        ("ja", "彼は（来た。）そして３．５秒待った。", ["彼は（来た。）", "そして３．５秒待った。"]),
        ("ko", "강은 넓다. 살기 좋은 곳. 그래요?", ["강은 넓다.", "살기 좋은 곳.", "그래요?"]),
        ("th", "สวัสดีครับ วันนี้อากาศดี", ["สวัสดีครับ วันนี้อากาศดี"]),  # no mark, no end
        ("en", "Hm. . . I see. (...) Fine.", ["Hm. . .", "I see.", "(...) Fine."]),
        ("nl", "Hij zei: ,,Ja.'' ,,Kom dan.''", ["Hij zei: ,,Ja.''", ",,Kom dan.''"]),
    ],
)
def test_exactly(language, text, sentences):
    assert split_sentences(text, language) == sentences


def test_spans_lie_between_white_space():
    text = "One.  Two!\nThree"
    assert [text[a:b] for a, b in sentence_spans(text)] == ["One.", "Two!", "Three"]
    assert sentence_spans("") == []
