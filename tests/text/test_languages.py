"""Languages: as users write them, as models name them, as Whisper knows them."""

import pytest

from orpheus.common.errors import InputError
from orpheus.text.languages import HEARD, check_heard, language_code
from orpheus.text.recognition import check_language


@pytest.mark.parametrize(
    "written, code",
    [
        ("de", "de"),
        ("DE", "de"),
        ("pt-BR", "pt"),
        ("zh_Hant", "zh"),
        ("German", "de"),
        ("nb", "no"),
        ("yue", "yue"),
        ("bho", "bho"),
    ],
)
def test_codes(written, code):
    assert language_code(written) == code


@pytest.mark.parametrize(
    "written, said",
    [
        ("jp", "did you mean ja"),
        ("Germann", "did you mean de"),
        ("", "such as en"),
        (3, "not 3"),
        ("español!", "not 'español!'"),
    ],
)
def test_what_is_no_language(written, said):
    with pytest.raises(InputError, match=said):
        language_code(written)


def test_recognition_knows_its_languages():
    assert len(HEARD) == 100
    for model, language in (("tiny.en", "en"), ("small", "hi"), ("large-v3", "yue")):
        check_language(model, language, "--transcribe")
    with pytest.raises(
        InputError, match=r"--transcribe: faster-whisper does not know the language 'bho'; near it are bo"
    ):
        check_heard("bho", "--transcribe")
    with pytest.raises(InputError, match="base.en hears only English, not 'de'; the same for all languages is base"):
        check_language("base.en", "de", "--transcribe")
