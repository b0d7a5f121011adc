"""The step on a CPU for a few sequences, in numpy: the same sums as `llama.TorchOperations` and `head.Head`.

A token of a small model is some 200 small operations and one pass over its weights. numpy's calls cost a third of PyTorch's,
and its product of a vector with a matrix that lies input by input streams twice as fast (24 GB/s on one core where PyTorch's
made 13); weights that are float16 numbers are read as such (halves.py). All of it runs in one thread: others are free for the
codec, and nobody waits at a barrier.
"""

from functools import partial

import numpy as np
import torch

from orpheus.common.frame import CODES_PER_FRAME
from orpheus.engines.fast import halves
from orpheus.engines.fast.matrix import Matrix
from orpheus.engines.sampling import draw_row, penalize_row

LARGEST = 2**28  # bytes of layers: their copy, input by input, is small, and one core reads them fast enough
MOST = 32  # sequences; for more, PyTorch's products over all of them and its threads pay
_ONE_BY_ONE = 3  # rows up to which a product is faster row by row


def fits(llama):
    """Whether a Llama's steps can run here: on a CPU, all of it in float32, and small."""
    matrices = [matrix for layer in llama.layers for matrix in (layer.qkv, layer.o, layer.gate_up, layer.down)]
    plain = all(isinstance(matrix, Matrix) and matrix.bits is None for matrix in matrices)
    return (
        plain
        and llama.device.type == "cpu"
        and llama.dtype == torch.float32
        and sum(matrix.nbytes for matrix in matrices) <= LARGEST
    )


class RowWeights:
    """A Llama's weights as numpy arrays, those of its layers as products of rows: called with (n, in), they return (n, out)."""

    def __init__(self, llama):
        self.shape = llama.shape
        self.embeddings, self.norm = llama.embeddings.numpy(), llama.norm.numpy()
        self._head, self._logits = llama.head, {}
        self.layers = [
            type(layer)(*(_product(part) if isinstance(part, Matrix) else part.numpy() for part in layer))
            for layer in llama.layers
        ]

    def logits(self, head):
        """For each position in the frame, a function from normed rows (n, hidden) to the logits (n, width) of a Head's tokens."""
        key = head.kind, head.first, head.codes
        if key not in self._logits:
            places = 1 if head.kind == "full" else CODES_PER_FRAME
            made = [self._logits_of(head.first, head.runs(place)) for place in range(places)]
            self._logits[key] = made * (CODES_PER_FRAME // places)
        return self._logits[key]

    def _logits_of(self, first, runs):
        parts = [self._head[first + run.start : first + run.stop] for run in runs]
        packed = halves.packed_halves(torch.cat(parts) if parts[1:] else parts[0])
        if packed is None:
            return partial(_of_parts, parts=[part.numpy() for part in parts])
        return partial(_of_halves, packed=packed)


def _product(matrix):
    if isinstance(matrix, halves.Halves):
        return partial(_of_halves, packed=matrix.packed)
    return partial(product, weight=_turned(matrix))


def _turned(matrix):
    """(in, out) of a Matrix, in memory too where that is faster: where there are more outputs than inputs."""
    weight = matrix.values.numpy().T
    return np.ascontiguousarray(weight) if weight.shape[1] > weight.shape[0] else weight


def _of_halves(x, packed):
    return halves.product(torch.from_numpy(x), packed).numpy()


def _of_parts(x, parts):
    """x (n, in), parts [(out, in)] -> (n, all out)"""
    return np.stack([np.concatenate([np.dot(part, row) for part in parts]) for row in x])


def product(x, weight):
    """x (n, in), weight (in, out) -> (n, out)"""
    if len(x) > _ONE_BY_ONE:
        return x @ weight
    y = np.empty((len(x), weight.shape[1]), np.float32)
    for row, out in zip(x, y):
        np.dot(row, weight, out=out)
    return y


def normed(x, weight, eps):
    """`rms_norm` of x (n, hidden)"""
    scales = [(float(np.dot(row, row)) / len(row) + eps) ** -0.5 for row in x]
    y = x * (np.float32(scales[0]) if len(scales) == 1 else np.array(scales, np.float32)[:, None])
    y *= weight
    return y


class RowSteps:
    """Steps for the sequences of one Slots, whose cache and state it shares: PyTorch's own steps may come in between.

    weights: RowWeights; head: a Head; cache: a Cache; rope: (cos, sin); state: a State
    """

    def __init__(self, weights, head, cache, rope, state):
        self.weights, self.head, self.logits = weights, head, weights.logits(head)
        self.keys, self.values = cache.keys.numpy(), cache.values.numpy()
        heads, kv_heads, dim, _ = weights.shape
        cos, sin = (table.numpy().reshape(len(table), 1, 2, dim // 2) for table in rope)
        self.turns = cos, sin * np.array([-1, 1], np.float32)[:, None]
        # Queries are scaled as they are turned: (heads + kv_heads, 1, 1)
        self.scales = np.repeat(np.array([dim**-0.5, 1], np.float32), [heads, kv_heads])[:, None, None]
        self.state = {name: part.numpy() for name, part in vars(state).items()}

    def advance(self, slots):
        """One token for each of these slots, a list; returns them as a list."""
        with np.errstate(over="ignore", invalid="ignore"):
            state = self.state
            x = self._hidden(state["ids"][slots], slots, state["positions"][slots])
            x = normed(x, self.weights.norm, self.weights.shape.eps)
            places = [count % CODES_PER_FRAME for count in state["counts"][slots].tolist()]
            if len(set(places)) == 1:
                logits = self.logits[places[0]](x)
            else:
                logits = [self.logits[place](row[None])[0] for place, row in zip(places, x)]
            return [self._draw(row, place, slot) for row, place, slot in zip(logits, places, slots)]

    def _hidden(self, ids, slots, positions):
        heads, kv_heads, dim, eps = self.weights.shape
        x = self.weights.embeddings[ids]  # (n, hidden), a copy
        n, turned = len(x), heads + kv_heads
        cos, sin = (table[positions] * self.scales for table in self.turns)  # (n, turned, 2, dim / 2)
        places = [(slot, slice(None), position) for slot, position in zip(slots, positions.tolist())]
        pasts = [(slot, slice(None), slice(position + 1)) for slot, _, position in places]
        for layer, keys, values in zip(self.weights.layers, self.keys, self.values):
            y = layer.qkv(normed(x, layer.norm, eps))
            _turn(y.reshape(n, -1, 2, dim // 2)[:, :turned], cos, sin)
            y = y.reshape(n, -1, dim)
            attended = np.empty((n, kv_heads, heads // kv_heads, dim), np.float32)
            for row, place, past, out in zip(y, places, pasts, attended):
                keys[place], values[place] = row[heads:turned], row[turned:]
                _attend(row[:heads].reshape(out.shape), keys[past], values[past], out)
            x += layer.o(attended.reshape(n, -1))
            x += layer.down(_gated(layer.gate_up(normed(x, layer.mlp_norm, eps))))
        return x

    def _draw(self, logits, place, slot):
        """As Head.next_tokens for one slot, given its logits (width,) at its place in the frame, which it may overwrite."""
        state, head = self.state, self.head
        runs, seen = head.runs(place), state["seen"][slot]
        seen = np.concatenate([seen[run] for run in runs])
        penalize_row(logits, seen, state["penalty"][slot])
        temperature = state["temperature"][slot]
        if temperature == 0:
            drawn = int(logits.argmax())
        else:
            uniform, mass = state["uniforms"][slot, state["counts"][slot]], int(state["mass"][slot])
            drawn = draw_row(logits, uniform, max(temperature, np.float32(0.01)), mass)
        for run in runs:
            size = run.stop - run.start
            if drawn < size:
                column = run.start + drawn
                break
            drawn -= size
        state["ids"][slot] = column + head.first
        state["positions"][slot] += 1
        state["counts"][slot] += 1
        state["seen"][slot, column] = True
        return column + head.first


def _turn(x, cos, sin):
    """`rotate` of x (n, heads, 2, dim / 2), in place; sin: with the first half's signs changed"""
    other = x[:, :, ::-1] * sin
    x *= cos
    x += other


def _gated(y):
    """silu(gate) * up of y (n, 2 * inner) -> (n, inner)"""
    inner = y.shape[1] // 2
    gate = y[:, :inner]
    z = np.negative(gate)
    np.exp(z, out=z)
    z += 1
    np.divide(gate, z, out=z)
    z *= y[:, inner:]
    return z


def _attend(q, k, v, out):
    """q (kv_heads, group, dim), scaled; k, v (kv_heads, length, dim) -> out as q"""
    scores = np.matmul(q, k.transpose(0, 2, 1))
    scores -= np.maximum.reduce(scores, axis=2, keepdims=True)
    np.exp(scores, out=scores)
    np.matmul(scores, v, out=out)
    out /= np.add.reduce(scores, axis=2, keepdims=True)
