"""Tables of text: CSV, LJSpeech's CSV and JSON lines, read so that a bad line can be named by file and number."""

import csv
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path

from orpheus.common.errors import InputError
from orpheus.data.sources.records import Records

_DELIMITERS = ",;\t|"
_SHOWN = 8  # lines in a note


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


def read_csv(path, known, suffixes):
    """A CSV file with a header, separated by , ; tabs or |, or LJSpeech's: id|transcript|normalized transcript, no header.

    known: lower-case column names by which a header is recognised; suffixes: of recordings, by which a line is recognised
    returns: (columns, list of Line, notes); LJSpeech's columns are "id" and "text", the normalized transcript where there is one
    """
    text, name = read_text(path), Path(path).name
    header = next((line for line in io.StringIO(text) if line.strip()), "")
    splits = {delimiter: next(csv.reader([header], delimiter=delimiter), []) for delimiter in _DELIMITERS}
    delimiter = next((d for d, cells in splits.items() if _lowered(cells) & known), None)
    records = Records(text, delimiter or ("|" if "|" in header else ","), suffixes, Path(path).parent)
    found = [replace(record, where=f"{name}:{record.where}") for record in records]
    if delimiter is None and "|" in header:
        return ["id", "text"], [_ljspeech_line(record) for record in found], ()
    columns = [cell.strip() for cell in found[0].cells] if found else []
    mended = [record.where.rpartition(":")[2] for record in found if record.mended]
    shown = ", ".join(mended[:_SHOWN]) + (" ..." if len(mended) > _SHOWN else "")
    note = f"{name}: quotation marks that do not pair were read as part of the text, in {len(mended):,} lines: {shown}"
    return columns, [_csv_line(record, columns) for record in found[1:]], (note,) if mended else ()


def _csv_line(record, columns):
    problem, cells = record.problem, record.cells
    if not problem and len(cells) != len(columns):
        problem = (
            f"bad line: {len(cells)} fields, the header names {len(columns)}; put a text with separators in quotes"
        )
    return Line(record.where, {} if problem else dict(zip(columns, cells, strict=True)), problem)


def _ljspeech_line(record):
    cells = record.cells
    if len(cells) not in (2, 3):
        return Line(
            record.where, {}, f"bad line: {len(cells)} fields; LJSpeech has id|transcript|normalized transcript"
        )
    return Line(record.where, {"id": cells[0].strip(), "text": cells[-1] if cells[-1].strip() else cells[1]})


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
