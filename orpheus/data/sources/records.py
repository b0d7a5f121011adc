"""The records of a CSV file, where quotation marks may quote a field or just be there.

A field in quotes may hold line breaks, so a mark that opens and never closes swallows the lines that follow, names of recordings
included. Every record is therefore read on its own: one that took in the name of another line's recording, or whose marks do
not pair, is read again with its marks as plain characters, as far as that line alone; or it is refused.
"""

import csv
import io
from dataclasses import dataclass

# Separators that part the first word from the rest, which may hold more of them.
TO_THE_END = (":", " ")
_LONGEST_FIELD = 1 << 24  # characters; Python's own limit of 131,072 refuses long chapters


@dataclass(frozen=True)
class Record:
    """A record of the file: one line, or more where a quoted field has line breaks."""

    where: str  # the number of its first line
    cells: list
    mended: bool = False  # whether its quotation marks were read as plain characters
    problem: str | None = None


class Records:
    """Iterates over all records that are not empty. With | quotes are ordinary characters, as LJSpeech uses them, but where they are
    doubled inside a quoted cell, as programs write them.

    is_file: whether a cell names a recording
    """

    def __init__(self, text, delimiter, is_file):
        csv.field_size_limit(_LONGEST_FIELD)
        self.lines = list(io.StringIO(text, newline=""))
        self.delimiter, self.is_file = delimiter, is_file
        self.fields = None  # as many as the header has

    def __iter__(self):
        start = 0
        while start < len(self.lines):
            record, used = self._record(start)
            start += used
            if record.problem or any(cell.strip() for cell in record.cells):
                self.fields = self.fields or len(record.cells)
                yield record

    def _record(self, start):
        """(Record, how many lines it takes)."""
        where, plain = str(start + 1), self._plain(self.lines[start])
        if self.delimiter == "|" and '""' in self.lines[start]:
            plain = [_unquoted(cell) if '""' in cell[1:-1] else cell for cell in plain]
        if self.delimiter in ("|", *TO_THE_END) or '"' not in self.lines[start]:
            return Record(where, plain), 1
        reader = csv.reader(
            (self.lines[n] for n in range(start, len(self.lines))), delimiter=self.delimiter, strict=True
        )
        try:
            cells = next(reader)
        except csv.Error:  # text after a closing mark, or the end of the file inside quotes
            cells = None
        if cells is not None and not any(map(self._swallowed, cells)):
            return Record(where, cells), reader.line_num
        return self._mended(start, where, plain, one_line=reader.line_num == 1)

    def _mended(self, start, where, plain, one_line):
        following = next((line for line in self.lines[start + 1 : start + 3] if line.strip()), None)
        complete = one_line or following is None or self._has_file(self._plain(following))
        if complete and len(plain) == self.fields:
            return Record(where, [_unquoted(cell) for cell in plain], mended=True), 1
        if one_line:  # a separator inside the quotes, and text after them
            loose = next(csv.reader([self.lines[start]], delimiter=self.delimiter))
            if len(loose) == self.fields:
                return Record(where, loose, mended=True), 1
        used = 1
        if not one_line and not (complete and self._has_file(plain)):  # up to the next line that is one
            rest = range(start + 1, len(self.lines))
            following = next((n for n in rest if self._has_file(self._plain(self.lines[n]))), len(self.lines))
            used = following - start
            if not self._has_file(plain) and following < len(self.lines):  # the recording is named after the text
                used += 1
        lines = where if used == 1 else f"{where} to {start + used}"
        problem = (
            f"bad line: the quotation marks in line {lines} do not pair; close the one that opens, and write those inside a "
            'quoted text twice ("")'
        )
        return Record(where, [], problem=problem), used

    def _plain(self, line):
        """The cells of one line, quotation marks and all."""
        return line.rstrip("\r\n").split(self.delimiter, 1 if self.delimiter in TO_THE_END else -1)

    def _swallowed(self, cell):
        """Whether a cell of several lines holds what looks like another line of the table."""
        lines = cell.splitlines()
        return len(lines) > 1 and any(self._has_file(self._plain(line)) for line in lines)

    def _has_file(self, cells):
        return any(self.is_file(_unquoted(cell).strip()) for cell in cells)


def _unquoted(cell):
    """A cell without the quotes around it, where they are such."""
    inner = cell[1:-1]
    if len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return cell
