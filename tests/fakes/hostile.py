"""Files that mean no good: configurations and weights changed at random, reproducibly."""

import json
import math
import struct

VALUES = (
    *(None, True, False, -1, 0, 1, 2, 3, 7, 1000, 65_537, 2**31, 2**63, 10**30, -(10**30)),
    *(0.0, -0.5, 0.5, 2.0, 1e308, -1e308, math.nan, math.inf, -math.inf),
    *("", "x", "1e5", "\0", "\ud800", "(a+)+$", "../../etc/passwd", "x" * 5000),
    *(
        [],
        [[]],
        [0],
        [-1],
        [2.5],
        ["a"],
        [None],
        [True],
        [1] * 3000,
        [10**9] * 4,
        [2, 4, 8, 8],
        [512],
        [1] * 9,
        [2] * 9,
    ),
    *({}, {"a": 1}, {"rope_type": "yarn"}, {"rope_type": 5}, {"quant_method": ["x"]}),
)
TEXTS = (  # of a file that should hold JSON
    *(
        b"",
        b" ",
        b"null",
        b"5",
        b"[]",
        b'"text"',
        b"{",
        b'{"a"',
        b'{"a": }',
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b"{}\0",
        b"\0" * 50,
    ),
    *(b"[" * 200_000, b'{"a":' * 50_000, b'{"a":' + b"[" * 900 + b"]" * 900 + b"}", b'{"a": ' + b"9" * 10_000 + b"}"),
    *(
        b'{"a": 1, "a": 2}',
        b'{"a": 1e999}',
        b'{"a": NaN}',
        b'{"a": "\xe9"}',
        b"{}" * 1000,
        b"{" + b" " * 33_000_000 + b"}",
    ),
)


def changed(random, values):
    """A dictionary with one or two of its values changed, or left out. random: random.Random"""
    values = json.loads(json.dumps(values))
    for _ in range(random.choice((1, 1, 2))):
        name = random.choice(sorted(values)) if values else "a"
        if random.random() < 0.1:
            values.pop(name, None)
        elif isinstance(values.get(name), dict) and values[name] and random.random() < 0.7:
            values[name][random.choice(sorted(values[name]))] = random.choice(VALUES)
        else:
            values[name] = random.choice(VALUES)
    return values


def write_changed(random, path, values):
    """A JSON file with `values` changed, or something else in their place. Returns what was written, in short."""
    if random.random() < 0.15:
        data = random.choice(TEXTS)
    else:
        data = json.dumps(changed(random, values)).encode()
        if random.random() < 0.05:
            data = data[: random.randrange(len(data))]
    path.write_bytes(data)
    return data[:500]


def change_header(random, data):
    """The bytes of a safetensors file with something wrong in its header."""
    (length,) = struct.unpack("<Q", data[:8])
    header, values = json.loads(data[8 : 8 + length]), data[8 + length :]
    way = random.randrange(8)
    if way == 0:
        return data[: random.randrange(len(data))]
    if way == 1:
        return struct.pack("<Q", random.choice((0, 1, length - 1, length + 1, 2**31, 2**63, 2**64 - 1))) + data[8:]
    if way == 2:
        return struct.pack("<Q", length) + random.choice(TEXTS)[:length].ljust(length) + values
    names = sorted(name for name in header if name != "__metadata__")
    name, other = random.choice(names), random.choice(names)
    if way == 3:
        header[name]["data_offsets"] = random.choice(
            (header[other]["data_offsets"], [-4, 0], [0, 2**62], [8, 4], [0], [], None, "x", [0.5, 4], [0, 10**30])
        )
    elif way == 4:
        header[name]["shape"] = random.choice(
            ([], [0], [-1], [2**40, 2**40], [10**12], "x", None, [1.5], [True], [1] * 100, header[other]["shape"])
        )
    elif way == 5:
        header[name]["dtype"] = random.choice(("F64", "F8_E4M3", "I8", "BOOL", "X", "", None, 5, ["F32"], "F4"))
    elif way == 6:
        header[random.choice(("unknown", name + ".x", "\0", ""))] = header.pop(name)
    else:
        header[name] = random.choice((None, 5, [], {}, "x"))
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values
