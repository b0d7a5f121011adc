"""Imports point down only; the public names are what the README shows."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "orpheus"
LEVELS = {
    **dict.fromkeys(["errors", "frame", "tokens", "text", "normalization", "audio", "options", "training_options"], 0),
    **dict.fromkeys(
        [
            "hub",
            "tables",
            "source_rows",
            "code_cache",
            "packing",
            "run_folder",
            "progress",
            "written_forms",
            "spoken_numbers",
        ],
        0,
    ),
    **dict.fromkeys(["prompt", "codec", "encoder", "streaming", "lora", "llama"], 1),
    **dict.fromkeys([f"fused_{part}" for part in ("snake", "products", "quantizer", "encoder")], 1),
    **dict.fromkeys(["arrow_sources", "sources", "clips", "checks", "splitting", "data_report", "transcription"], 1),
    **dict.fromkeys(["engines", "engines.sampling", "engines.transformers", "loading", "rows", "data", "retries"], 2),
    **dict.fromkeys([f"engines.{part}" for part in ("llama", "kernels", "head", "head_kernels", "slots", "fast")], 2),
    "engines.row_kernels": 1,
    **dict.fromkeys(["training", "training_log"], 2),
    **dict.fromkeys(["synthesis", "adapter_folder"], 3),
    **dict.fromkeys(["engines.separate", "stream_layers"], 2),
    **{"fused_decoder": 3, "stream_decoder": 4, "serving": 5},
    **dict.fromkeys(["evaluation", "evaluation.options"], 0),
    **dict.fromkeys(["evaluation.words", "evaluation.statistics", "evaluation.tag_detector", "evaluation.judges"], 1),
    **dict.fromkeys(["evaluation.scoring", "evaluation.systems", "evaluation.pictures"], 2),
    **dict.fromkeys(["evaluation.wording", "evaluation.panel"], 3),
    **dict.fromkeys(["evaluation.html", "finetune"], 4),
    "evaluation.report": 5,
    **dict.fromkeys(["evaluate", "training_evaluation"], 6),
}
# Inside a level: what is a part of the other, or a fact that others read.
ALLOWED_SIDEWAYS = {"errors", "frame", "options", "engines", "engines.sampling", "engines.transformers"} | {
    "audio",
    "encoder",
    *(f"fused_{part}" for part in ("snake", "products", "quantizer", "encoder")),
    "lora",
    "arrow_sources",
    "rows",
    "training_log",
    "written_forms",
    "spoken_numbers",
    *(f"engines.{part}" for part in ("llama", "kernels", "head", "head_kernels", "slots", "fast")),
}


def modules():
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in getattr(node, "names", [])]
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (name for name in names if name)


@pytest.mark.parametrize("module", sorted(set(modules()) - {"__init__"}))
def test_imports_point_down(module):
    for name in imported(modules()[module]):
        assert name not in ("inference", "orpheus_sft_unsloth"), "nothing imports a script"
        assert name != "unsloth", "unsloth needs a GPU and is the training script's"
        if name.startswith("orpheus."):
            other = name.removeprefix("orpheus.")
            assert LEVELS[other] < LEVELS[module] or other in ALLOWED_SIDEWAYS, f"{module} imports {other}"


def test_the_public_names():
    import inference

    assert inference.__all__ == ["OrpheusInference"]
    methods = [name for name in vars(inference.OrpheusInference) if not name.startswith("_")]
    assert methods == ["generate", "synthesize", "synthesize_all", "stream"]


def test_no_file_is_longer_than_one_sitting():
    for path in [*PACKAGE.rglob("*.py"), PACKAGE.parent / "inference.py"]:
        assert len(path.read_text().splitlines()) <= 350, path
