"""The order of the packages, and what keeps a stranger's first minute short."""

import ast

import pytest

from orpheus.common.options import ROOT

PACKAGE = ROOT / "orpheus"
ORDER = "common text codec engines speech data evaluate training export prepare server".split()
LAST = {"export", "prepare", "server"}  # none of these knows another
LONGEST = 350  # lines: a file that can be read in one sitting


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


def package_of(path):
    return path.relative_to(PACKAGE).parts[0]


def imports(path):
    """(module, name) of everything that a file imports, also inside functions; the name is "" for `import module`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def ours(path):
    """(package, name) of what a file imports from this project."""
    for module, name in imports(path):
        if module == "orpheus":
            yield name, ""
        elif module.startswith("orpheus."):
            yield module.split(".")[1], name


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = package_of(path)
    for package, name in ours(path):
        assert package == here or ORDER.index(package) < ORDER.index(here), f"{here} imports {package}"
        assert package == here or not name.startswith("_"), f"{name} is private to {package}"
        assert not (here in LAST and package in LAST - {here}), f"{here} and {package} know nothing of each other"


def test_every_package_has_its_place_and_says_what_it_is_for():
    packages = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert packages <= set(ORDER)
    assert len(list(PACKAGE.glob("[!_]*"))) <= 12
    for package in packages:
        assert ast.get_docstring(ast.parse((PACKAGE / package / "__init__.py").read_text()))


def test_nothing_imports_a_script_or_unsloth():
    for path in modules():
        for module, _ in imports(path):
            assert module.split(".")[0] not in ("inference", "orpheus_sft_unsloth", "unsloth"), path


def test_what_must_be_light_imports_no_torch():
    light = [path for path in modules() if package_of(path) in ("common", "text") or path.name == "options.py"]
    for path in light:
        assert "torch" not in {module.split(".")[0] for module, _ in imports(path)}, path
    assert len(light) > 20


@pytest.mark.parametrize("folder", ["benchmarks", "recipes"])
def test_no_private_name_is_borrowed(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        assert not [name for _, name in ours(path) if name.startswith("_")], path


def test_no_file_is_longer_than_one_sitting():
    folders = ("orpheus", "tests", "benchmarks", "recipes")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")] + list(ROOT.glob("*.py"))
    long = {str(path.relative_to(ROOT)): lines for path in files if (lines := _lines(path)) > LONGEST}
    assert long == {}


def _lines(path):
    return len(path.read_text().splitlines())


def test_the_public_names():
    import inference

    assert inference.__all__ == ["OrpheusInference"]
    methods = [name for name in vars(inference.OrpheusInference) if not name.startswith("_")]
    assert methods == ["generate", "synthesize", "synthesize_all", "stream"]
