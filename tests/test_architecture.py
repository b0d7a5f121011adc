"""The order of the packages, and what keeps a stranger's first minute short."""

import ast

import pytest

from orpheus.common.options import ROOT

PACKAGE = ROOT / "orpheus"
ORDER = "common text codec engines speech data evaluate training export prepare server".split()
LAST = {"export", "prepare", "server"}  # none of these knows another
OURS = ("orpheus", "benchmarks", "recipes", "tests")
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


def private_attributes(path):
    """`x._name`, but for what is the file's own (of self and cls, or defined here) and what is a foreign module's, as torch's."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    own = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    foreign = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            foreign |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] not in OURS:
            foreign |= {alias.asname or alias.name for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
            holder = node.value.id if isinstance(node.value, ast.Name) else ""
            if holder not in {"self", "cls", *foreign - set(OURS)} and node.attr not in own:
                yield f"{ast.unparse(node)} in line {node.lineno}"


@pytest.mark.parametrize("folder", ["benchmarks", "recipes"])
def test_no_private_name_is_borrowed(folder):
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert len(paths) > 10
    for path in paths:
        assert not [name for _, name in ours(path) if name.startswith("_")], path
        assert list(private_attributes(path)) == [], path


def test_what_counts_as_borrowed(tmp_path):
    file = tmp_path / "script.py"
    file.write_text(
        "import torch\nfrom orpheus.codec import snac\n"
        "class A:\n    def _mine(self):\n        return self._x, torch._foreach_norm, A()._mine, type(self).__name__\n"
        "def f(pool):\n    pool._idle = None\n    return snac._decode, pool.engine._slots\n"
    )
    assert list(private_attributes(file)) == [
        "pool._idle in line 7",
        "snac._decode in line 8",
        "pool.engine._slots in line 8",
    ]


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
