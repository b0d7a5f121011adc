"""Tables of text: CSV with any separator, with a header or without; JSON; read so that a bad line can be named by file and number."""

import io
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from orpheus.common.errors import InputError
from orpheus.data.sources.columns import plain
from orpheus.data.sources.places import split_suffix
from orpheus.data.sources.records import TO_THE_END, Records

_DELIMITERS = ("|", "\t", ";", ",", "~", "^", "#", *TO_THE_END)  # the likelier first
_LOOKED_AT = 200  # records, for what the separator and the columns are
_JSON = (".json", ".jsonl", ".ndjson", ".manifest")
_SHOWN = 8  # lines in a note
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Line:
    """One row of a table."""

    where: str  # "metadata.csv:12"
    values: dict  # column -> value
    problem: str | None = None  # why the line cannot be used
    fields: int = 0  # that it has where these are not as many as the columns


@dataclass(frozen=True)
class Table:
    """What is written in a file, before anybody says what it means."""

    path: Path
    columns: list  # names, or "1", "2" ... without a header
    lines: list  # of Line
    header: bool = True
    delimiter: str = ""  # "" for JSON
    notes: list = field(default_factory=list)

    def sample(self, column, most=_LOOKED_AT):
        """Cells of a column, evenly taken."""
        rows = [line for line in self.lines if not line.problem]
        return [line.values.get(column) for line in rows[:: max(1, len(rows) // most)]]


def read_text(path, most=None):
    """A UTF-8 file, with or without a byte order mark, or UTF-16 with one. Raises InputError that names the line of a wrong byte.

    most: bytes to read; what is cut off at their end is left out
    """
    try:
        with open(path, "rb") as file:
            data = file.read() if most is None else file.read(most)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if most is not None and len(data) == most:
        data = data[: data.rfind(b"\n") + 1]
    try:
        return data.decode("utf-16" if data[:2] in _UTF16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line} is not UTF-8 text ({error.reason}): save the file as UTF-8") from error


def read_table(path, known, is_file, most=None):
    """A Table out of a file of any of these kinds. Raises InputError where it is not text or holds no rows.

    known: names, as `plain` makes them, by which a header is recognised; is_file: whether a cell names a recording; most: bytes to read
    """
    path = Path(path)
    text = read_text(path, most)
    start = text.lstrip()[:1]
    is_json = path.suffix.lower() in _JSON or (start and start in "[{" and path.suffix.lower() not in (".csv", ".tsv"))
    table = _read_json(path, text) if is_json else _read_csv(path, text, known, is_file)
    if not table.lines:
        raise InputError(f"{path} holds no rows")
    return table


# --- separated values --------------------------------------------------------------------------------------------------


def _read_csv(path, text, known, is_file):
    def may_be_file(cell):
        return bool(cell) and (bool(split_suffix(cell)[1]) or is_file(cell))

    text, comments = _without_comments(text, known, may_be_file)
    delimiter, header = _form(text, known, may_be_file)
    records = list(Records(text, delimiter, may_be_file))
    if not records:
        return Table(path, [], [])
    if header is None:
        header = _is_header(records, is_file, may_be_file)
    columns = [cell.strip() for cell in records[0].cells]
    if header:
        records = records[1:]
        if len(set(columns)) < len(columns):
            columns = [name if columns.index(name) == n else f"{name} ({n + 1})" for n, name in enumerate(columns)]
    else:
        usual = Counter(len(record.cells) for record in records if not record.problem)
        columns = [str(n + 1) for n in range(usual.most_common(1)[0][0] if usual else 0)]
    mended = [record.where for record in records if record.mended]
    shown = ", ".join(mended[:_SHOWN]) + (" ..." if len(mended) > _SHOWN else "")
    note = f"{path.name}: quotation marks that do not pair were read as part of the text, in {len(mended):,} lines: {shown}"
    lines = [_line(path, record, columns, header) for record in records]
    notes = [note] if mended else []
    if comments:
        notes.append(f"{path.name}: {comments:,} comments above the table were not read: lines that begin with #")
    return Table(path, columns, lines, header, delimiter, notes)


def _without_comments(text, known, may_be_file):
    """(text, number of comments): the lines above the first row that begin with # are emptied, so that numbers of lines stay. One that
    names two columns or a recording is none."""
    lines = text.splitlines(keepends=True)
    comments = 0
    for n, line in enumerate(lines):
        if line.strip() and not line.startswith("#"):
            return ("".join(lines), comments) if comments else (text, 0)
        rows = [line.strip().split(delimiter) for delimiter in _DELIMITERS]
        columns = max(len({plain(cell) for cell in cells} & known) for cells in rows)
        if columns > 1 or any(may_be_file(cell) for cells in rows for cell in cells):
            return ("".join(lines), comments) if comments else (text, 0)
        comments += bool(line.strip())
        lines[n] = "\n"
    return text, 0  # nothing else is there


def _line(path, record, columns, header):
    where, cells = f"{path.name}:{record.where}", record.cells
    # Cells of a bad line stay for those who know better: LJSpeech's third field may be missing.
    values = dict(zip(columns, cells, strict=False))
    if record.problem or len(cells) == len(columns):
        return Line(where, values, record.problem)
    others = "the header names" if header else "the others have"
    problem = f"bad line: {len(cells)} fields, {others} {len(columns)}; put a text with separators in quotes"
    return Line(where, values, problem, len(cells))


def _form(text, known, may_be_file):
    """(separator, whether there is a header; None: not known yet)."""
    first = next((line for line in io.StringIO(text) if line.strip()), "").strip("\r\n")
    splits = {
        delimiter: _first_cells(first, delimiter, may_be_file)
        for delimiter in _DELIMITERS
        if delimiter not in TO_THE_END
    }
    named = {delimiter: len({plain(cell) for cell in cells} & known) for delimiter, cells in splits.items()}
    best = max(named, key=named.get, default=",")  # the first of equal ones
    # A cell of the first row that is a recording is no name of a column.
    if named.get(best) and not any(split_suffix(cell.strip())[1] for cell in splits[best]):
        return best, True
    chosen, most = ",", (-1.0, 0.0)
    lines = [line for line in text.splitlines() if line.strip()][:_LOOKED_AT]
    for delimiter in _DELIMITERS:
        if not any(delimiter in line for line in lines):
            continue
        cells = [record.cells for record in Records("\n".join(lines), delimiter, may_be_file) if not record.problem]
        evidence = _evidence(cells, may_be_file)
        if delimiter in TO_THE_END and evidence[0] <= max(most[0], 0):
            continue  # prose has them, too
        if evidence > most:
            chosen, most = delimiter, evidence
    return chosen, None


def _first_cells(line, delimiter, may_be_file):
    record = next(iter(Records(line, delimiter, may_be_file)), None)
    return record.cells if record else []


def _evidence(rows, may_be_file):
    """(share of rows with a recording's name in one and the same column, share with the usual number of fields)."""
    counts = Counter(map(len, rows))
    if not counts or max(counts) < 2:
        return -1.0, 0.0
    fields, times = max(counts.items(), key=lambda item: (item[1], item[0]))
    if fields < 2:
        return -1.0, 0.0
    columns = ([row[n].strip() for row in rows if len(row) > n] for n in range(fields))
    best = max(sum(map(may_be_file, column)) / len(rows) for column in columns)
    return round(best, 2), times / len(rows)


def _is_header(records, is_file, may_be_file):
    """Whether the first row names columns that nobody knows: its cell is no recording where those below it are."""
    first, others = records[0].cells, [record.cells for record in records[1:_LOOKED_AT] if not record.problem]
    for n, cell in enumerate(first):
        below = [cells[n].strip() for cells in others if len(cells) > n]
        test = is_file if any(map(is_file, below)) else may_be_file
        if below and sum(map(test, below)) > len(below) / 2:
            return not may_be_file(cell.strip()) and all(len(cell) < 40 for cell in first)
    return False


# --- JSON -------------------------------------------------------------------------------------------------------------


def _read_json(path, text):
    """One JSON object per line, or a file that is a list of objects, or an object of them."""
    if not text.lstrip()[:1] or text.lstrip()[0] not in "[{":
        return _json_lines(path, text)
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):  # more than one value: lines
        return _json_lines(path, text)
    rows = _rows_of(whole)
    if rows is None:
        return _json_lines(path, text)
    columns, lines = {}, []
    for number, values in enumerate(rows, 1):
        columns |= dict.fromkeys(values if isinstance(values, dict) else ())
        lines.append(_json_line(f"{path.name}, item {number}", values))
    return Table(path, list(columns), lines)


def _rows_of(whole):
    """The objects in a JSON value; None where it is one of several lines."""
    if isinstance(whole, list):
        return whole
    only = next(iter(whole.values())) if len(whole) == 1 else None
    if isinstance(only, list) and only and isinstance(only[0], dict):  # {"data": [...]}
        return only
    if whole and all(isinstance(value, dict) for value in whole.values()):  # by name
        return [{"file_name": name} | value for name, value in whole.items()]
    if whole and all(isinstance(v, str) and split_suffix(name)[1] for name, v in whole.items()):
        return [{"file_name": name, "text": value} for name, value in whole.items()]
    return None


def read_jsonl(path):
    """(columns in order of appearance, list of Line) of a file with one JSON object per line."""
    path = Path(path)
    table = _json_lines(path, read_text(path))
    return table.columns, table.lines


def _json_lines(path, text):
    columns, lines = {}, []
    # Not splitlines(): JSON strings may hold other line separators, such as U+2028.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path.name}:{number}"
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            lines.append(Line(where, {}, f"bad line: not JSON ({error})"))
            continue
        columns |= dict.fromkeys(values if isinstance(values, dict) else ())
        lines.append(_json_line(where, values))
    return Table(path, list(columns), lines)


def _json_line(where, values):
    if not isinstance(values, dict):
        return Line(where, {}, f"bad line: a JSON {type(values).__name__}, not an object")
    return Line(where, values)
