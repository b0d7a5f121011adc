"""Whether a command that stands in a page would be taken: for tests/test_readme.py."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import inference
from orpheus.common.options import ROOT


def check_inference(arguments):
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        try:
            inference._parse(arguments)
        except SystemExit as exit:
            assert exit.code == 0, shown.getvalue()  # --help


def check_training(arguments):
    import orpheus_sft_unsloth

    if "lora_model/config.yaml" in arguments:  # the file of an earlier run
        Path("lora_model").mkdir()
        Path("lora_model/config.yaml").write_text("learning_rate: 0.0001")
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        try:
            orpheus_sft_unsloth.parse(arguments)
        except SystemExit as exit:
            assert exit.code == 0, shown.getvalue()  # --help


def check_evaluation(arguments):
    from orpheus.evaluate import cli

    cli._systems(cli._parse(arguments))


def check_export(arguments):
    from orpheus.export import cli

    cli._parse(arguments).writing.check_something()


def check_server(arguments):
    from orpheus.server import cli

    cli.parse(arguments)


def check_prepare(arguments):
    from orpheus.prepare import cli

    cli.parse(arguments)


def check_serve(arguments):
    """Ray Serve's command: of ours are the file and what the application is given."""
    if arguments[0] == "deploy":
        assert (ROOT / arguments[1]).is_file(), arguments[1]
        return
    assert arguments[:2] == ["run", "deploy.ray_serve:application"]
    given = dict(argument.split("=") for argument in arguments[2:])
    check_server([f"--{name}={value}" for name, value in given.items() if name not in ("replicas", "cpus", "gpus")])


def check_files(arguments):
    """Of docker and kubectl: that the files are there."""
    for flag, value in zip(arguments, arguments[1:]):
        assert flag != "-f" or (ROOT / value).is_file(), value


def check_curl(arguments):
    """A request that the server would take."""
    import json

    from orpheus.server.schemas import SpeechRequest

    assert arguments[0].endswith("/v1/audio/speech")
    SpeechRequest(**json.loads(arguments[arguments.index("-d") + 1]))


def check_module(module, arguments):
    """That the module is there, and knows the flags."""
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    assert path.is_file(), f"there is no {path.relative_to(ROOT)}"
    source = path.read_text()
    for flag in (word for word in arguments if word.startswith("--") and word != "--help"):
        assert flag in source or flag[2:].replace("-", "_") in source, f"{module} has no {flag}"


def check_python(arguments):
    if arguments[0] == "-m" and arguments[1] == "orpheus.evaluate":
        check_evaluation(arguments[2:])
    elif arguments[0] == "-m" and arguments[1] == "orpheus.export":
        check_export(arguments[2:])
    elif arguments[0] == "-m" and arguments[1] == "orpheus.server":
        check_server(arguments[2:])
    elif arguments[0] == "-m" and arguments[1] == "orpheus.prepare":
        check_prepare(arguments[2:])
    elif arguments[0] == "-m":
        check_module(arguments[1], arguments[2:])
    else:
        {"inference.py": check_inference, "orpheus_sft_unsloth.py": check_training}[arguments[0]](arguments[1:])


def check_torchrun(arguments):
    script = arguments.index("orpheus_sft_unsloth.py")
    assert [word for word in arguments[:script] if word.startswith("-")] == ["--nproc-per-node"]
    check_training(arguments[script + 1 :])


def check_make(arguments):
    target, *variables = arguments
    makefile = (ROOT / "Makefile").read_text()
    assert target in re.search(r"^\.PHONY: (.*)$", makefile, flags=re.M)[1].split()
    for variable in variables:
        name, _, value = variable.partition("=")
        assert re.search(rf"^{name} \?=", makefile, flags=re.M), f"the Makefile has no {name}"
        if target == "speak":
            check_inference(shlex.split(value))
        if target == "serve":
            check_server(shlex.split(value))
        if target == "test":
            check_pytest(shlex.split(value))


def check_pytest(arguments):
    for place in (word for word in arguments if word.startswith("tests")):
        assert (ROOT / place).exists(), place


def check_pip(arguments):
    assert arguments[0] == "install"
    for flag, value in zip(arguments, arguments[1:]):
        assert flag != "-r" or (ROOT / value).is_file(), value


def check_activate(arguments):
    assert arguments == [".venv/bin/activate"]


CHECKS = {"make": check_make, "source": check_activate, "python": check_python, "torchrun": check_torchrun} | {
    "pip": check_pip,
    "pytest": check_pytest,
    "curl": check_curl,
    "serve": check_serve,
    **dict.fromkeys(["docker", "kubectl"], check_files),
    **dict.fromkeys(["echo", "export", "aplay", "ffplay", "ffmpeg"], lambda arguments: None),  # they are none of ours
}
