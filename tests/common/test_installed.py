"""What cannot work with what is installed is said at the start, on one line."""

import re
from importlib.metadata import PackageNotFoundError

import pytest

from orpheus.common import installed
from orpheus.common.command import run
from orpheus.common.errors import InputError
from orpheus.common.installed import TRAINING, Need, check_installed, parts_of
from orpheus.common.options import ROOT


@pytest.fixture
def here(monkeypatch):
    """Sets the versions that are installed."""
    versions = {"torch": "2.13.0+cpu", "transformers": "5.17.0", "peft": "0.21.2", "datasets": "3.6.0"}

    def version(package):
        if package not in versions:
            raise PackageNotFoundError(package)
        return versions[package]

    monkeypatch.setattr(installed, "version", version)
    return versions


def test_what_fits_passes(here):
    check_installed("training", *TRAINING)
    here.update(torch="2.6.0a0+git12", transformers="4.56", peft="0.17.1")
    check_installed("training", *TRAINING)


def test_each_that_is_too_old_is_named_with_the_version_here_the_one_needed_and_the_line_to_type(here):
    here.update(transformers="4.51.3", peft="0.9.0")
    with pytest.raises(InputError) as error:
        check_installed("training", *TRAINING)
    assert str(error.value) == (
        "training needs transformers >=4.56, and 4.51.3 is installed, peft >=0.17, and 0.9.0 is installed: "
        'pip install "transformers>=4.56" "peft>=0.17"'
    )
    assert "\n" not in str(error.value)


def test_datasets_4_is_refused(here):
    here["datasets"] = "4.1.0"
    with pytest.raises(InputError, match=re.escape('pip install "datasets>=3.4.1,<4"')):
        check_installed("training", *TRAINING)


def test_too_new_is_refused_too(here):
    here["peft"] = "1.0.0"
    with pytest.raises(
        InputError, match=re.escape('peft >=0.17,<1, and 1.0.0 is installed: pip install "peft>=0.17,<1"')
    ):
        check_installed("training", Need("peft", "0.17", "1"))


def test_one_that_is_missing_is_answered_as_everywhere(here, capsys):
    del here["peft"]
    assert run(lambda _: check_installed("training", *TRAINING)) == 2
    assert "the package peft is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, parts",
    [("2.13.0+cpu", (2, 13, 0)), ("4.56.2", (4, 56, 2)), ("2.8.0rc1", (2, 8, 0)), ("5", (5,)), ("unknown", ())],
)
def test_the_numbers_of_a_version(text, parts):
    assert parts_of(text) == parts


def test_what_the_requirements_install_fits():
    """The files may ask for more than what works at all, never for less."""
    lines = (ROOT / "requirements.txt").read_text()
    for need in TRAINING:
        asked = re.search(rf"^{need.package}>=([\d.]+)", lines, re.M)[1]
        assert need.fits(asked), need
