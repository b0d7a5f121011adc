"""Rows that are SNAC codes already: the Orpheus recipe's `codes_list` and `input_ids`. They are checked and taken as they are.

codes_list   seven codes a frame in the order of orpheus.common.tokens: plain (0 to 4,095), with the position's offset (+ 4,096 a
             position), as numbers of `<custom_token_N>` (10 more), or as token ids (128,266 more)
             or three lists, one for each level of SNAC
input_ids    the whole example: SOH BOS text EOT EOH SOA SOS codes EOS EOA
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from orpheus.common.errors import InputError
from orpheus.common.frame import CODES_PER_FRAME, LEVEL_CODES
from orpheus.common.options import is_number
from orpheus.common.tokens import CONTROL_TOKENS, TokenLayout, interleave

ORPHEUS = TokenLayout()
_LOOKED_AT = 50  # rows, for how their codes are written
_MOST_CODES = 1 << 20  # of a row: 3.5 hours
# Columns of rows that `python -m orpheus.prepare` writes: samples at 24 kHz, and seconds of sound without pauses, of the recording; the
# fingerprint of the codec.
SAMPLES, SPEECH, CODEC = PREPARED = ("samples", "speech_seconds", "codec")
_TOKEN = re.compile(r"<custom_token_(\d+)>")


@dataclass(frozen=True)
class Form:
    """How a data set writes its codes."""

    name: str
    base: int  # of the first position's range
    step: int  # from one position's range to the next one's
    size: int  # codes in a range

    @property
    def starts(self):
        return self.base + self.step * np.arange(CODES_PER_FRAME)


def _forms(layouts):
    for layout in layouts:
        size = layout.codebook_size
        yield Form("plain", 0, 0, size)
        yield Form("with offsets", 0, size, size)
        yield Form("numbers of custom tokens", CONTROL_TOKENS, size, size)
        yield Form("token ids", layout.first_audio, size, size)


def numbers(cell):
    """int64 (n,) of a cell: a list, its JSON, `<custom_token_N>`s, or three levels. Raises InputError."""
    if isinstance(cell, str):
        tokens = _TOKEN.findall(cell)
        try:
            cell = (
                [int(token) for token in tokens]
                if tokens
                else json.loads(cell)
                if "[" in cell
                else cell.replace(",", " ").split()
            )
        except (ValueError, RecursionError) as error:
            raise InputError(f"codes: {cell[:30]!r} is no list of numbers") from error
    if isinstance(cell, dict) and len(cell) == 1:
        cell = next(iter(cell.values()))
    if cell is None or not hasattr(cell, "__len__"):
        raise InputError("codes: the row has none")
    if len(cell) == len(LEVEL_CODES) and all(
        hasattr(level, "__len__") and not isinstance(level, str) for level in cell
    ):
        return _from_levels([numbers(level) for level in cell])
    if len(cell) == 1 and hasattr(cell[0], "__len__") and not isinstance(cell[0], str):
        return numbers(cell[0])
    if len(cell) > _MOST_CODES:
        raise InputError(f"codes: {len(cell):,} of them; up to {_MOST_CODES:,} are read")
    try:
        found = np.array([int(value) for value in cell], dtype=np.int64)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError("codes: not a list of whole numbers") from error
    return found


def _from_levels(levels):
    frames = len(levels[0])
    if [len(level) for level in levels] != [frames * n for n in LEVEL_CODES]:
        lengths = ", ".join(str(len(level)) for level in levels)
        raise InputError(f"codes: three levels of {lengths} codes; SNAC's have 1, 2 and 4 a frame")
    return interleave(levels).reshape(-1)


def form_of(rows, layouts=(ORPHEUS,)):
    """The Form that most of these rows fit; plain where none does."""
    forms, fit = list(_forms(layouts)), Counter()
    for row in rows[:_LOOKED_AT]:
        for form in forms:
            fit[form] += _first_wrong(row, form) is None
    return max(forms, key=lambda form: fit[form])  # the first of equal ones


def _first_wrong(row, form):
    """Index of the first number that is out of its position's range, or None."""
    codes = row - np.resize(form.starts, len(row))
    wrong = (codes < 0) | (codes >= form.size)
    return int(np.argmax(wrong)) if wrong.any() else None


def checked(row, form):
    """Codes uint16 (frames, 7) of a row's numbers. Raises InputError, which names the first that is wrong and its range."""
    if not len(row):
        raise InputError("empty: no codes")
    wrong = _first_wrong(row, form)
    if wrong is not None:
        frame, position = divmod(wrong, CODES_PER_FRAME)
        low = int(form.starts[position])
        raise InputError(
            f"codes out of range: frame {frame}, position {position} holds {int(row[wrong])}; {low} to {low + form.size - 1} are valid "
            f"there ({form.name})"
        )
    if len(row) % CODES_PER_FRAME:
        raise InputError(f"codes: {len(row)} are no whole frames of {CODES_PER_FRAME}")
    return (row - np.resize(form.starts, len(row))).reshape(-1, CODES_PER_FRAME).astype(np.uint16)


def too_large(codes, size):
    return f"codes out of range: up to {codes.max()}, and the codec has {size}: they were made with another one"


def split_example(ids, layout):
    """(ids of the text, ids of the codes) of a whole example. Raises InputError where it is not laid out like one."""
    ids = ids[ids != layout.pad]  # padded to a batch's length
    begin = np.flatnonzero(ids == layout.start_of_speech)
    if not len(begin):
        raise InputError(
            f"input_ids: no start-of-speech token, {layout.start_of_speech}; they were made for another model, or are no example"
        )
    audio = ids[begin[0] + 1 :]
    end = np.flatnonzero(audio == layout.end_of_speech)
    if not len(end):
        raise InputError(f"input_ids: no end-of-speech token, {layout.end_of_speech}: the example was cut short")
    head = [int(token) for token in ids[: begin[0]]]
    text = [token for token in head if token < layout.base and token not in (layout.begin_of_text, layout.end_of_turn)]
    return text, audio[: end[0]]


@dataclass(frozen=True)
class CodedAudio:
    """What stands for a recording where its codes are there."""

    cell: object  # function that gives the row's cell
    form: Form
    layout: TokenLayout | None = None  # of whole examples
    codebook_size: int = ORPHEUS.codebook_size  # of the codec that is to speak them
    lengths: tuple | None = None  # (samples, seconds of sound), of rows that `python -m orpheus.prepare` wrote
    codec: str | None = None  # fingerprint of the codec that made them, of the same

    def codes(self):
        """uint16 (frames, 7). Raises InputError."""
        row = numbers(self.cell())
        found = checked(split_example(row, self.layout)[1] if self.layout else row, self.form)
        if found.max() >= self.codebook_size:
            raise InputError(too_large(found, self.codebook_size))
        return found

    def text_ids(self):
        """Of whole examples: ids of the text. Raises InputError."""
        return split_example(numbers(self.cell()), self.layout)[0]

    def open(self):
        raise InputError("no sound: the row holds codes")

    def load(self):
        raise InputError("no sound: the row holds codes")


def prepared(rows, samples, speech, codecs):
    """CodedAudio of rows with what the columns PREPARED say of them. A row that they don't fit stays as it is."""
    return [replace(row, lengths=(int(count), float(seconds)), codec=codec) if is_number(count) and is_number(seconds) else row
            for row, count, seconds, codec in zip(rows, samples, speech, codecs, strict=True)]  # fmt: skip


def coded(cells, examples, reader=None):
    """[CodedAudio] of rows.

    cells: functions that give a row's cell; examples: whether they are whole examples; reader: ModelTokens of the model that is to
    learn, asked for its layout where it decides
    """
    if examples:
        layout = reader.layout if reader else ORPHEUS
        form = Form("token ids", layout.first_audio, layout.codebook_size, layout.codebook_size)
        return [CodedAudio(cell, form, layout) for cell in cells]
    rows = []
    for cell in cells[:: max(1, len(cells) // _LOOKED_AT)]:
        try:
            rows.append(numbers(cell()))
        except InputError:
            continue
    form = form_of(rows)
    if reader and rows and all(_first_wrong(row, form) is not None for row in rows):
        form = form_of(rows, (ORPHEUS, reader.layout))
    return [CodedAudio(cell, form) for cell in cells]
