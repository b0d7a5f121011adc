"""Options by name, from YAML and as keywords: accepted and equal, or an InputError that says what is allowed."""

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, get_type_hints

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import orpheus_sft_unsloth as script
from orpheus.common.command import options_from, read_config, write_config
from orpheus.common.errors import InputError
from orpheus.common.options import is_number
from orpheus.data.options import DataOptions
from orpheus.engines.options import SamplingOptions
from orpheus.evaluate.options import JudgeOptions, ListOptions
from orpheus.speech.options import LongTextOptions, RetryOptions, StreamOptions, TextOptions
from orpheus.speech.request import split_options
from orpheus.training.options import TrainingOptions

RECIPE = (script.RunOptions, DataOptions, TrainingOptions)
ALL = (*RECIPE, SamplingOptions, JudgeOptions, ListOptions, LongTextOptions, RetryOptions, StreamOptions, TextOptions)
OPTIONS = [(options, field.name) for options in ALL for field in fields(options)]
NAMES = [f"{options.__name__}.{name}" for options, name in OPTIONS]


@dataclass(frozen=True)
class Kinds:
    """One option of every kind, those included that no class has yet."""

    passes: float | Literal["auto"] = "auto"
    steps: int | None = None
    many: tuple[Literal["wer", "tags"], ...] = ()
    words: tuple[str, ...] = ()
    place: Path | None = None
    name: str | None = None
    on: bool = False


def config(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return read_config(path)


def refusal(classes, **values):
    with pytest.raises(InputError) as refused:
        options_from(classes, values)
    return str(refused.value)


# --- YAML 1.2 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word, value",
    [
        ("2e-4", 2e-4),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("+12", 12),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        *((word, word) for word in "on off yes no On NO y 1:30 2026-01-02 1_000 = << 0b1 e5 1e5x".split()),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("Null", None),
        ("'2e-4'", "2e-4"),
        ("[on, 2e-4]", ["on", 2e-4]),
    ],
)
def test_plain_words_are_those_of_yaml_1_2(tmp_path, word, value):
    found = config(tmp_path, f"x: {word}")["x"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("epochs: 1\nseed: 3\nepochs: 2", "epochs is set twice"),
        ("- epochs", "must hold lines of `option: value`, not ['epochs']"),
        ("false", "must hold lines of `option: value`, not False"),
        ("[" * 1500, "cannot be read as YAML"),
        ("a: !!python/object/apply:os.getcwd []", "cannot be read as YAML"),
        ("a: !!bool maybe", "maybe is no bool"),
        ("a: !!int ''", "is no int"),
        ("a: !!timestamp never", "cannot be read as YAML"),
        (f"a: {'9' * 5000}", "cannot be read as YAML"),
        ("[a]: 1", "cannot be read as YAML"),
        ("a: 'open", "cannot be read as YAML"),
        ("a: \x00", "cannot be read as YAML"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path, text, message):
    with pytest.raises(InputError) as refused:
        config(tmp_path, text)
    assert message in str(refused.value) and "run.yaml" in str(refused.value) and "\n" not in str(refused.value)


def test_an_empty_file_sets_nothing(tmp_path):
    assert config(tmp_path, "# nothing yet\n") == {}
    with pytest.raises(InputError, match="none.yaml cannot be read"):
        read_config(tmp_path / "none.yaml")


WORDS = st.one_of(st.text(), st.sampled_from("1e5 on 0o7 010 ~ =".split()))
VALUES = st.one_of(WORDS, st.booleans(), st.none(), st.integers(), st.floats(allow_nan=False), st.lists(WORDS))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(WORDS, VALUES))
def test_what_is_written_is_read_the_same_by_both_versions(tmp_path, values):
    write_config(tmp_path / "run.yaml", values)
    assert read_config(tmp_path / "run.yaml") == values
    assert yaml.safe_load((tmp_path / "run.yaml").read_text(encoding="utf-8")) == values


# --- kinds of values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values, kept",
    [
        ({"passes": "auto"}, "auto"),
        ({"passes": 3}, 3.0),
        ({"passes": 0.5}, 0.5),
        ({"steps": None}, None),
        ({"steps": 7}, 7),
        ({"many": ["wer", "tags"]}, ("wer", "tags")),
        ({"words": []}, ()),
        ({"place": "a/b"}, Path("a/b")),
        ({"place": None}, None),
        ({"name": "5"}, "5"),
        ({"on": True}, True),
    ],
)
def test_a_value_of_the_right_kind_is_kept(values, kept):
    (options,) = options_from([Kinds], values)
    found = getattr(options, *values)
    assert found == kept and type(found) is type(kept)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"passes": "often"}, "passes must be a number or auto, not 'often'"),
        ({"passes": True}, "passes must be a number or auto, not True"),
        ({"passes": math.nan}, "passes must be a number or auto, not nan"),
        ({"passes": 10**400}, "passes must be a number or auto, not 1000"),
        ({"steps": 2.0}, "steps must be a whole number, not 2.0"),
        ({"steps": "3"}, "steps must be a whole number, not '3'"),
        ({"many": ["wer", "mos"]}, "many must be a list of wer or tags, not ['wer', 'mos']"),
        ({"many": "wer"}, "many must be a list of wer or tags, not 'wer'"),
        ({"words": [1]}, "words must be a list of text, not [1]"),
        ({"place": 5}, 'place must be a path, not 5; put it in quotes: "5"'),
        ({"place": ""}, "place must be a path, not ''"),
        ({"place": "a\0b"}, "place must be a path, not 'a\\x00b'"),
        ({"name": 5}, 'name must be text, not 5; put it in quotes: "5"'),
        ({"name": False}, "name must be text, not False"),
        ({"on": "on"}, "on must be true or false, not 'on'"),
        ({"on": 1}, "on must be true or false, not 1"),
        ({"step": 1}, "unknown option 'step'; did you mean steps?"),
        ({"zzz": 1}, "unknown option 'zzz'; known are passes, steps, many, words, place, name, on"),
        ({7: 1}, "unknown option 7; known are passes"),
    ],
)
def test_another_kind_is_refused_with_what_is_allowed(values, message):
    with pytest.raises(InputError) as refused:
        options_from([Kinds], values)
    assert str(refused.value).startswith(message)


def test_a_message_is_short_whatever_was_given():
    long, many = "x" * 100_000, [[["y"] * 1000] * 1000] * 1000
    for value in (long, many, int("9" * 4000) ** 2, {"a": many}):
        assert len(refusal([Kinds], steps=None, on=value)) < 300


# --- all options -----------------------------------------------------------------------------------------------------

HARD = [math.nan, math.inf, -math.inf, -1, -1e-9, 0, 1e308, 2**70, 10**400, True, None, "", "\0", "on", "2e-4", [], {}]
ANY = st.one_of(
    st.integers(),
    st.floats(),
    st.text(max_size=10),
    st.booleans(),
    st.lists(st.one_of(st.text(max_size=5), st.integers()), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@pytest.mark.parametrize("options, name", OPTIONS, ids=NAMES)
def test_any_value_is_accepted_and_equal_or_refused(tmp_path, options, name):
    """As a keyword, and through a YAML file."""
    for value in HARD:
        accepted_and_equal_or_refused(tmp_path, options, name, value)
    tried = given(value=ANY)(lambda value: accepted_and_equal_or_refused(tmp_path, options, name, value))
    settings(max_examples=15, deadline=None)(tried)()


def accepted_and_equal_or_refused(folder, options, name, value):
    kept = []
    write_config(folder / "run.yaml", {name: value})
    for read in (lambda: {name: value}, lambda: read_config(folder / "run.yaml")):
        try:
            kept.append(getattr(options_from([options], read())[0], name))
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < 1000
    for found in kept:
        given_value = Path(value) if isinstance(found, Path) else tuple(value) if isinstance(found, tuple) else value
        assert found == given_value


@pytest.mark.parametrize("options, name", OPTIONS, ids=NAMES)
def test_numbers_have_an_upper_and_a_lower_limit(options, name):
    """Nothing that a loop, a buffer or a generator of random numbers would choke on gets past the options."""
    kind = str(get_type_hints(options)[name])
    if "float" in kind or "int" in kind:
        for value in (2**70, -(2**70), -1, 10**400, *([1e30, math.inf, math.nan] if "float" in kind else [])):
            message = refusal([options], **{name: value})
            assert name in message and " not " in message


@pytest.mark.parametrize(
    "flags",
    [
        "--learning-rate nan",
        "--learning-rate inf",
        "--epochs -1",
        "--epochs 1e400",
        "--seed 1180591620717411303424",
        "--lora-rank 1000000",
        "--held-out -inf",
        "--min-seconds nan",
        "--max-tokens 99999999999999999999",
        "--optimizer foo",
        "--compile maybe",
        "--split=",
        "--no-such-flag",
        "--config",
        "--config nowhere.yaml",
    ],
)
def test_bad_flags_end_in_a_message_and_status_2(capsys, in_empty_folder, flags):
    try:
        status = script.main(flags.split())
    except SystemExit as end:
        status = end.code
    assert status == 2
    printed = "".join(capsys.readouterr())
    assert "Traceback" not in printed and printed.strip()


def test_the_recipes_limits_name_the_cure():
    assert refusal(RECIPE, lora_rank=1_000_000) == (
        "lora_rank must be a whole number of at most 1,024, not 1000000; 16 to 128 are usual"
    )
    assert refusal(RECIPE, seed=2**70).startswith(
        "seed must be a whole number of at most 4,294,967,295, not 1180591620"
    )
    assert refusal(RECIPE, warmup_steps=-1) == "warmup_steps must be a whole number of at least 0, not -1"
    assert refusal(RECIPE, learning_rate=2) == "learning_rate must be between 1e-08 and 1, not 2.0; 2e-4 is usual"
    assert refusal(RECIPE, compile=True) == "compile must be auto, on or off, not True"
    assert refusal(RECIPE, learning_rat=1).endswith("did you mean learning_rate?")


# --- in use ----------------------------------------------------------------------------------------------------------


def parsed(tmp_path, text, *flags):
    (tmp_path / "run.yaml").write_text(text)
    return script.parse(["--config", str(tmp_path / "run.yaml"), *flags])


def test_a_configuration_sets_what_it_says(tmp_path):
    arguments = parsed(tmp_path, "learning_rate: 2e-4\ncompile: on\nepochs: 3\nmerge: whole\n", "--seed", "5")
    assert arguments.training.learning_rate == 2e-4 and arguments.training.compile == "on"
    assert repr(arguments.training.epochs) == "3.0"  # as the flag has it: a state knows its run by this
    assert arguments.run.merge == Path("whole") and arguments.training.seed == 5


@pytest.mark.parametrize(
    "text, message",
    [
        ("optimizer: foo", "optimizer must be auto, adamw or adamw_8bit, not 'foo'"),
        ("out: 5", 'out must be a path, not 5; put it in quotes: "5"'),
        ("compile: true", "compile must be auto, on or off, not True"),
        ("keep_best: on", "keep_best must be true or false, not 'on'"),
        ("learning-rate: 1", "unknown option 'learning-rate'; did you mean learning_rate?"),
        ("epochs: 0", "epochs must be between 0.01 and 10,000, not 0.0"),
    ],
)
def test_a_mistake_names_the_file_the_option_and_what_is_allowed(tmp_path, text, message):
    with pytest.raises(InputError) as refused:
        parsed(tmp_path, text)
    assert str(refused.value).startswith(f"--config {tmp_path / 'run.yaml'}: {message}")


def test_the_options_of_a_run_start_the_same_run(tmp_path):
    first = script.parse(["--demo", "--speaker", "1e5", "--split", "on", "--epochs", "2"])
    write_config(tmp_path / "config.yaml", script.settings_of(first.run, first.data, first.training))
    again = script.parse(["--config", str(tmp_path / "config.yaml")])
    for group in ("run", "data", "training"):
        assert asdict(getattr(again, group)) == asdict(getattr(first, group))


@given(value=st.one_of(st.floats(0.01, 5), st.just(0)))
@example(value=0.6)
def test_keywords_are_held_to_the_same_rules(value):
    assert split_options({"temperature": value})[0].temperature == value
    with pytest.raises(InputError, match="temperature must be a number, not '0.6'"):
        split_options({"temperature": "0.6"})
    assert is_number(value)
