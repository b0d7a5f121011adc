"""What people read is true.

Commands parse, Python runs, links and paths lead somewhere, figures are the code's, tables are tables. Read are the
README and every page of docs/ but docs/log.md, which is history.
"""

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest

from orpheus.common.options import ORPHEUS_3B, ORPHEUS_3B_VOICES, ROOT
from orpheus.common.tokens import TokenLayout
from orpheus.engines.options import SamplingOptions
from orpheus.text.tags import TAGS
from tests.page_commands import CHECKS

README = (ROOT / "README.md").read_text()
PAGES = {"README.md": README} | {
    f"docs/{path.name}": path.read_text() for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "log.md"
}
LONGEST = {"README.md": 220, "docs/development.md": 80}  # lines
FENCE = r"^```(\w*)\n(.*?)^```$"


def blocks(language, page):
    return [code for name, code in re.findall(FENCE, PAGES[page], flags=re.M | re.S) if name == language]


def prose(page):
    """A page without its fenced blocks."""
    return re.sub(FENCE, "", PAGES[page], flags=re.M | re.S)


# --- commands ---


def commands():
    """(page, words) of every command in every bash block, a part of a pipe by itself."""
    for page in PAGES:
        for line in "\n".join(blocks("bash", page)).splitlines():
            words = shlex.split(line, comments=True)
            while words:
                end = words.index("|") if "|" in words else len(words)
                yield page, words[:end]
                words = words[end + 1 :]


@pytest.mark.parametrize(
    "page, words", list(commands()), ids=lambda part: part if isinstance(part, str) else " ".join(part)
)
def test_every_command_parses(page, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    CHECKS[words[0]](words[1:])


def test_there_are_commands():
    found = [" ".join(words[:3]) for _, words in commands()]
    assert sum(command.startswith("python inference.py") for command in found) >= 10
    assert sum(command.startswith("python orpheus_sft_unsloth.py") for command in found) >= 10
    assert sum(command.startswith("python -m orpheus.evaluate") for command in found) >= 5
    assert sum(command.startswith(("python -m benchmarks", "python -m recipes")) for command in found) >= 4
    first = [line.split("#")[0].strip() for line in blocks("bash", "README.md")[0].splitlines()]
    assert first == ["make speak", "make test", "source .venv/bin/activate"]


def test_no_command_stands_in_another_kind_of_block():
    for page, text in PAGES.items():
        assert {name for name, _ in re.findall(FENCE, text, flags=re.M | re.S)} <= {"bash", "python", "yaml", ""}, page
        for code in blocks("", page):
            assert not re.search(r"^\s*(python|make|pip|pytest|torchrun)\b", code, flags=re.M), code


def test_configurations_are_read(in_empty_folder):
    import orpheus_sft_unsloth

    found = [code for page in PAGES for code in blocks("yaml", page)]
    for code in found:
        Path("run.yaml").write_text(code)
        orpheus_sft_unsloth.parse(["--config", "run.yaml"])
    assert found


# --- Python ---


SHORT = 84  # tokens of a piece: a second says what the rest would


def python_blocks():
    for page in PAGES:
        for number, code in enumerate(blocks("python", page)):
            yield pytest.param(page, code, id=f"{page}-{number}")


@pytest.mark.filterwarnings("ignore:speech was cut off")
@pytest.mark.parametrize("page, code", list(python_blocks()))
def test_every_python_block_runs(page, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)  # the model of a GPU machine would be downloaded
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    check = SamplingOptions.__post_init__

    def short(options):
        object.__setattr__(options, "max_new_tokens", min(options.max_new_tokens, SHORT))
        check(options)

    monkeypatch.setattr(SamplingOptions, "__post_init__", short)
    exec(compile(code, page, "exec"), {})


def test_there_are_ten_recipes_that_each_do_something():
    page = PAGES["docs/recipes.md"]
    _, *sections = re.split(r"^## ", page, flags=re.M)
    assert [section.split(".")[0] for section in sections] == [str(number) for number in range(1, 11)]
    assert all("```bash" in section or "```python" in section for section in sections)


def test_no_command_loses_a_dollar():
    """Between double quotes a shell takes $5 for a variable."""
    for page in PAGES:
        for line in "\n".join(blocks("bash", page)).splitlines():
            quoted = re.findall(r'"[^"]*"', re.sub(r"'[^']*'", "", line))
            assert not [words for words in quoted if re.search(r"(?<!\\)\$\d", words)], f"{page}: {line}"


def test_there_is_python_in_the_first_screen():
    assert README.index("```python") < README.index("\n## ")
    assert {page for page in PAGES if blocks("python", page)} >= {"README.md", "docs/data.md", "docs/serving.md"}


# --- links and paths ---


def anchors(text):
    """What a heading can be linked by."""
    headings = re.findall(r"^#+ (.*)$", re.sub(FENCE, "", text, flags=re.M | re.S), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links():
    for page in PAGES:
        yield from ((page, target) for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)))


@pytest.mark.parametrize("page, target", list(links()))
def test_links_lead_somewhere(page, target):
    if target.startswith("https://"):
        return
    name, _, anchor = target.partition("#")
    path = (ROOT / page).parent / name if name else ROOT / page
    assert path.exists(), target
    if anchor:
        assert anchor in anchors(path.read_text()), f"{target}: there is no such heading"


@pytest.mark.parametrize("page", PAGES)
def test_paths_in_the_text_are_there(page):
    places = r"`((?:orpheus|benchmarks|recipes|tests|assets|docs)/[\w./-]*)`"
    lacking = [path for path in re.findall(places, PAGES[page]) if not (ROOT / path).exists()]
    assert lacking == []


def test_every_page_is_linked_from_the_readme():
    assert [page for page in PAGES if page != "README.md" and f"({page}" not in README] == []
    assert "(docs/log.md)" in README and "(docs/hello.wav)" in README[:500]


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.svg")), ids=lambda path: path.name)
def test_pictures_can_be_drawn_and_follow_dark_mode(path):
    """A browser draws no SVG with an error in it. What has a colour of its own stays light on a dark page."""
    picture = ElementTree.parse(path)
    style = "".join(element.text for element in picture.iter() if element.tag.endswith("style"))
    light, _, dark = style.partition("@media (prefers-color-scheme: dark)")
    names = set(re.findall(r"\.([a-z]+) \{", light))
    assert names and set(re.findall(r"\.([a-z]+) \{", dark)) == names
    used = {name for element in picture.iter() for name in element.get("class", "").split()}
    assert used == names
    assert not [e.tag for e in picture.iter() if "#" in (e.get("fill") or "") + (e.get("stroke") or "")]


# --- tables and lengths ---


@pytest.mark.parametrize("page", PAGES)
def test_tables_are_tables(page):
    """Every run of lines with bars has a header, a line of dashes, and rows of as many cells; else it shows as text."""
    for run in re.findall(r"(?:^\|.*\n)+", prose(page), flags=re.M):
        lines = run.splitlines()
        assert len(lines) > 2 and re.fullmatch(r"\|( -{3,} \|)+", lines[1]), lines[0]
        cells = [len(re.findall(r"(?<!\\)\|", line)) for line in lines]
        assert set(cells) == {cells[0]}, lines[next(n for n, count in enumerate(cells) if count != cells[0])]


def test_no_other_line_begins_a_table():
    """A run of bars after plain text would not be a table of its own."""
    for page in PAGES:
        lines = ["", *prose(page).splitlines()]
        for before, line in zip(lines, lines[1:]):
            assert not line.startswith("|") or before.startswith("|") or not before.strip(), f"{page}: {line}"


@pytest.mark.parametrize("page", LONGEST)
def test_pages_are_short(page):
    assert len(PAGES[page].splitlines()) <= LONGEST[page]


# --- figures and names ---


def test_tags_and_voices_are_those_of_the_code():
    for category, tags in TAGS.items():
        assert f"| {category} | {' '.join(f'`<{tag}>`' for tag in tags)} |" in README
    assert f"| `{ORPHEUS_3B}` | {', '.join(f'`{voice}`' for voice in ORPHEUS_3B_VOICES)} |" in README


@pytest.mark.parametrize("position", range(7))
def test_ranges_of_ids_are_those_of_the_code(position):
    first = TokenLayout().range_start(position)
    assert re.search(rf"^\| {position} \|.*\| {first:,} to {first + 4095:,} \|$", README, flags=re.M)


def test_the_users_own_install_line():
    assert (
        'pip install sentencepiece protobuf "datasets>=3.4.1,<4.0.0" "huggingface_hub>=0.34.0" hf_transfer\n' in README
    )
