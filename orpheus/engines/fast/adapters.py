"""Several adapters on one Llama, whose weights are there once: each row of a step speaks with the one that its sequence has.

A linear layer's product is y = x @ W^T. To the rows of an adapter, (x @ A^T) @ (B * scaling)^T is added, as peft does
with an adapter that is not merged; a merged one differs by how sums round. Rows without an adapter get y as it is.

On a CPU the rows are taken adapter by adapter. Elsewhere the adapters' A lie one below the other, all rows are multiplied by
all of them, and what is not a row's own is set to 0: shapes do not depend on who speaks, so that a step can be captured.
"""

from functools import partial

import torch
import torch.nn.functional as F

from orpheus.common.errors import InputError


class _Stack:
    """What the adapters add to one matrix, which may be several linear layers one below the other: its parts.

    a: (columns, in), the A of all adapters for the first part, then those for the second ...; parts: [(rows, columns, b)],
    slices of the matrix's outputs and of a, and b (columns, rows), transposed and scaled; pairs: {adapter: [(rows, a, b)]}, views
    of its own; owners: int64 (columns,), the adapter that each column belongs to
    """

    def __init__(self, changes, rows, dtype, device):
        """changes: for each part {adapter's number: Change}; rows: how many outputs each part has"""

        def to(values):
            return values.to(device, torch.float32)

        own = [to(change.a) for part in changes for change in part.values()]
        self.a = torch.cat(own).to(dtype)
        self.parts, self.pairs, owners, first, column = [], {}, [], 0, 0
        for part, count in zip(changes, rows):
            place = slice(first, first + count)
            first += count
            if not part:
                continue
            b = torch.cat([to(change.b).T * change.scaling for change in part.values()]).to(dtype)
            self.parts.append((place, slice(column, column + len(b)), b))
            start = 0
            for number, change in part.items():
                rank = len(change.a)
                pair = self.a[column + start : column + start + rank], b[start : start + rank]
                self.pairs.setdefault(number, []).append((place, *pair))
                owners += [number] * rank
                start += rank
            column += len(b)
        self.owners = torch.tensor(owners, device=device)

    @property
    def nbytes(self):
        return self.a.nbytes + sum(b.nbytes for *_, b in self.parts)

    def add_grouped(self, x, y, groups):
        """groups: [(adapter, its rows int64 (n,), or None for all)]"""
        for number, rows in groups:
            own = x if rows is None else x[rows]
            for place, a, b in self.pairs.get(number, ()):
                added = F.linear(own, a) @ b
                if rows is None:
                    y[:, place] += added
                else:
                    y[:, place].index_add_(0, rows, added)
        return y

    def narrow(self, x, mask):
        """x (T, in) -> (T, columns), all adapters' A; mask: (T, columns), 1 where a row's adapter owns the column"""
        return F.linear(x, self.a).mul_(mask)

    def widen(self, z, y):
        """y (T, out) with z (T, columns) times B, in place."""
        for place, columns, b in self.parts:
            y[:, place].addmm_(z[:, columns], b)
        return y


class _Rows:
    """Whose the rows of a step are: chosen int64 (T,). groups: [(adapter, its rows int64 (n,), or None for all)], if they are taken so"""

    def __init__(self, chosen, grouped, dtype):
        self.chosen, self.groups, self._dtype, self._masks = chosen, None, dtype, {}
        if grouped:
            numbers = chosen.tolist()
            same = len(set(numbers)) == 1
            self.groups = [
                (number, None if same else torch.tensor([row for row, own in enumerate(numbers) if own == number]))
                for number in dict.fromkeys(filter(None, numbers))
            ]

    def mask(self, owners):
        """(T, columns), 1 where a row's adapter owns the column; made once for owners that are alike"""
        key = owners.data_ptr()
        if key not in self._masks:
            self._masks[key] = (self.chosen[:, None] == owners).to(self._dtype)
        return self._masks[key]


class Adapted:
    """A Matrix, and what the adapters of this step's rows add to its product. It has none of a Matrix's values: whoever
    multiplies by these alone would speak with nobody's voice."""

    def __init__(self, matrix, stack, rows):
        self.matrix, self.stack, self.rows = matrix, stack, rows

    def add(self, x, y):
        """y (T, out) with what is added for x (T, in), in place."""
        if self.rows.groups is not None:
            return self.stack.add_grouped(x, y, self.rows.groups)
        return self.stack.widen(self.stack.narrow(x, self.mask), y)

    @property
    def mask(self):
        """(T, columns) for `narrow`."""
        return self.rows.mask(self.stack.owners)

    @property
    def shape(self):
        return self.matrix.shape

    @property
    def bits(self):
        return self.matrix.bits

    def __call__(self, x):
        return self.add(x, self.matrix(x))


class Adapters:
    """The adapters of a Llama, on its device.

    changes: {name: {layer: orpheus.engines.plain_lora.Change}}, each of the shapes of its layer. Numbers begin at 1; 0 is none.
    """

    def __init__(self, llama, changes):
        self.numbers = {name: number for number, name in enumerate(changes, 1)}
        self.dtype, self.device = llama.dtype, llama.device
        self._stacks, alike = [], {}
        for index, layer in enumerate(llama.layers):
            stacks = {}
            for field, names, rows in _linear(index, layer, llama.shape):
                own = [
                    {self.numbers[name]: change[part] for name, change in changes.items() if part in change}
                    for part in names
                ]
                if any(own):
                    stack = stacks[field] = _Stack(own, rows, self.dtype, self.device)
                    stack.owners = alike.setdefault(tuple(stack.owners.tolist()), stack.owners)
            self._stacks.append(stacks)

    @property
    def nbytes(self):
        """What they take, all together."""
        return sum(stack.nbytes for stacks in self._stacks for stack in stacks.values())

    def number(self, name):
        """Raises InputError for a name that there is not; None has 0."""
        if name is not None and name not in self.numbers:
            raise InputError(f"there is no adapter {name!r}; there are {', '.join(self.numbers)}")
        return 0 if name is None else self.numbers[name]

    def onto(self, layers, chosen, grouped):
        """The layers, to be multiplied by rows whose adapters are `chosen` int64 (T,)."""
        rows = _Rows(chosen, grouped, self.dtype)
        if grouped and not rows.groups:
            return layers
        return [
            layer._replace(**{field: Adapted(getattr(layer, field), stack, rows) for field, stack in stacks.items()})
            for layer, stacks in zip(layers, self._stacks)
        ]


def _linear(index, layer, shape):
    """(field of a Layer, names of the linear layers in it, how many outputs each has)"""
    at, kv = f"model.layers.{index}", shape.kv_heads * shape.dim
    inner = layer.gate_up.shape[0] // 2
    yield "qkv", [f"{at}.self_attn.{name}_proj" for name in "qkv"], [shape.heads * shape.dim, kv, kv]
    yield "o", [f"{at}.self_attn.o_proj"], [layer.o.shape[0]]
    yield "gate_up", [f"{at}.mlp.gate_proj", f"{at}.mlp.up_proj"], [inner, inner]
    yield "down", [f"{at}.mlp.down_proj"], [layer.down.shape[0]]


class SeatedLlama:
    """A Llama for one Slots: every slot has an adapter, or none. For the rest, the Llama itself."""

    def __init__(self, llama, slots):
        self._llama = llama
        self._chosen = torch.zeros(slots, dtype=torch.int64, device=llama.device)

    def __getattr__(self, name):
        return getattr(self._llama, name)

    def choose(self, slot, adapter):
        """Has a slot speak with an adapter, by its name; None for none."""
        with torch.inference_mode():
            self._chosen[slot] = self._llama.adapters.number(adapter)

    def adapted(self, slots):
        """Whether any of these slots has an adapter."""
        return bool(self._chosen[slots].any())

    def hidden(self, tokens, cache, rope):
        """See Llama.hidden."""
        llama, count = self._llama, len(tokens.ids)
        by_kernels = llama.by_kernels
        if count == 1 and by_kernels:  # the kernels for one row know no adapters: the same row twice takes the products
            tokens = type(tokens)(*(part.repeat(2) for part in (tokens.ids, tokens.slots, tokens.positions)))
        grouped = not by_kernels and llama.device.type == "cpu"
        layers = llama.adapters.onto(llama.layers, self._chosen[tokens.slots], grouped)
        return llama.hidden(tokens, cache, rope, layers)[:count]


class AdapterEngine:
    """An engine with one of its adapters, as an engine of its own: they share the weights. See orpheus.engines.Engine."""

    def __init__(self, engine, adapter):
        self.engine, self.adapter, self.layout = engine, adapter, engine.layout

    @property
    def caches(self):
        return self.engine.caches

    def generate(self, prompts, sampling, seeds):
        return self.engine.generate(prompts, sampling, seeds, adapter=self.adapter)

    def open(self, slots, length, **options):
        opened = self.engine.open(slots, length, **options)
        opened.join = partial(opened.join, adapter=self.adapter)
        return opened

    def release(self):
        self.engine.release()
