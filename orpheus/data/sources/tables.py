"""Tables of text: CSV, LJSpeech's CSV and JSON lines, read so that a bad line can be named by file and number."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

from orpheus.common.errors import InputError

_DELIMITERS = ",;\t|"
_LONGEST_FIELD = 1 << 24  # characters; Python's own limit of 131,072 refuses long chapters


@dataclass(frozen=True)
class Line:
    """One row of a table."""

    where: str  # "metadata.csv:12"
    values: dict  # column -> value
    problem: str | None = None  # why the line cannot be used


def read_text(path):
    """A UTF-8 file, with or without a byte order mark. Raises InputError that names the line of a wrong byte."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line} is not UTF-8 text ({error.reason}): save the file as UTF-8") from error


def _lowered(cells):
    return {cell.strip().lower() for cell in cells}


def read_csv(path, known):
    """A CSV file with a header, separated by , ; tabs or |, or LJSpeech's: id|transcript|normalized transcript, no header.

    known: lower-case column names by which a header is recognised
    returns: (columns, list of Line); LJSpeech's columns are "id" and "text", the normalized transcript where there is one
    """
    text, name = read_text(path), Path(path).name
    header = next((line for line in io.StringIO(text) if line.strip()), "")
    splits = {delimiter: next(csv.reader([header], delimiter=delimiter), []) for delimiter in _DELIMITERS}
    delimiter = next((d for d, cells in splits.items() if _lowered(cells) & known), None)
    if delimiter is None and "|" in header:
        return ["id", "text"], [_ljspeech_line(where, cells) for where, cells in _cells(text, name, "|")]
    entries = _cells(text, name, delimiter or ",")
    columns = [cell.strip() for cell in next(entries, ("", []))[1]]
    return columns, [_csv_line(where, cells, columns) for where, cells in entries]


def _cells(text, name, delimiter):
    """(where, cells) of every line that is not empty. With | quotes are ordinary characters, as LJSpeech uses them."""
    csv.field_size_limit(_LONGEST_FIELD)
    quoting = csv.QUOTE_NONE if delimiter == "|" else csv.QUOTE_MINIMAL
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting)
    first_line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield f"{name}:{first_line}", cells
            first_line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{name}:{first_line} is not CSV: {error}") from error


def _csv_line(where, cells, columns):
    if len(cells) != len(columns):
        problem = (
            f"bad line: {len(cells)} fields, the header names {len(columns)}; put a text with separators in quotes"
        )
        return Line(where, {}, problem)
    return Line(where, dict(zip(columns, cells, strict=True)))


def _ljspeech_line(where, cells):
    if len(cells) not in (2, 3):
        return Line(where, {}, f"bad line: {len(cells)} fields; LJSpeech has id|transcript|normalized transcript")
    return Line(where, {"id": cells[0].strip(), "text": cells[-1] if cells[-1].strip() else cells[1]})


def read_jsonl(path):
    """A file with one JSON object per line. Returns (columns in order of appearance, list of Line)."""
    columns, lines = {}, []
    # Not splitlines(): JSON strings may hold other line separators, such as U+2028.
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{Path(path).name}:{number}"
        try:
            values = json.loads(line)
        except ValueError as error:
            lines.append(Line(where, {}, f"bad line: not JSON ({error})"))
            continue
        if not isinstance(values, dict):
            lines.append(Line(where, {}, f"bad line: a JSON {type(values).__name__}, not an object"))
            continue
        columns |= dict.fromkeys(values)
        lines.append(Line(where, values))
    return list(columns), lines
