"""Kernels compiled for cards that are not here: what real code launches is noted, with tensors that hold nothing, and compiled.

Triton's compiler and the ptxas that it brings need no GPU. A launch is bound as Triton binds it on a card: types, constants, what
is divisible by 16, warps and stages.
"""

import ast
import importlib
import inspect
import pkgutil
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime import jit

from orpheus.common.cards import AMPERE, HOPPER, Card

CARDS = [Card(7, 5), Card(8, 0), Card(8, 6), Card(8, 9), Card(9, 0)]


class Launch(NamedTuple):
    """A kernel and what it was launched with."""

    kernel: jit.JITFunction
    arguments: tuple
    named: dict


@contextmanager
def noted_launches():
    """A list that fills with Launches instead of kernels that run."""
    launches = []

    def run(kernel, *arguments, grid, warmup, **named):
        assert not warmup and all(size > 0 for size in grid), (kernel.__name__, grid)
        launches.append(Launch(kernel, arguments, named))

    with mock.patch.object(jit.JITFunction, "run", run):
        yield launches


def not_launched(package, launches):
    """Names of the kernels in a package's modules that are neither launched nor called by one that is."""
    there = []
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(found.name)
        kernels = [value for value in vars(module).values() if isinstance(value, jit.JITFunction)]
        there += [kernel for kernel in kernels if kernel.__module__ == module.__name__]
    waiting, reached = [launch.kernel for launch in launches], []
    while waiting:
        kernel = waiting.pop()
        if kernel not in reached:
            reached.append(kernel)
            names = {
                node.id for node in ast.walk(ast.parse(inspect.getsource(kernel.fn))) if isinstance(node, ast.Name)
            }
            called = [kernel.fn.__globals__.get(name) for name in names]
            waiting += [each for each in called if isinstance(each, jit.JITFunction)]
    return sorted(kernel.__name__ for kernel in there if kernel not in reached)


def bound(launches, card, alike=()):
    """{what tells it apart: (kernel, options, signature, constants, attributes)} of Launches on a card, each once.

    alike: constants that make no other kernel worth compiling: a network's own sizes
    """
    backend, made = make_backend(GPUTarget("cuda", 10 * card.major + card.minor, 32)), {}
    for kernel, arguments, named in launches:
        named = {"debug": False, **named}
        bind = jit.create_function_from_signature(kernel.signature, kernel.params, backend)
        values, special, options = bind(*arguments, **named)
        told = [(name, what) for name, what in zip(values, special) if not (what[0] == "constexpr" and name in alike)]
        packed = kernel._pack_args(backend, named, values, special, options)
        made.setdefault(f"{kernel.__name__} {told} {packed[0].num_warps} {packed[0].num_stages}", (kernel, *packed))
    return made


def check_on(card, launches, alike=()):
    """Compiles Launches for a card, and holds them to its shared memory and to the instructions that it has; how many there were."""
    target, found = GPUTarget("cuda", 10 * card.major + card.minor, 32), bound(launches, card, alike)
    for what, (kernel, options, signature, constants, attributes) in found.items():
        source = ASTSource(kernel, signature, constants, attributes)
        made = triton.compile(source, target=target, options=options.__dict__)
        assert made.metadata.shared <= card.shared_bytes, f"{made.metadata.shared} bytes of shared memory: {what}"
        lacking = ["cp.async", "bf16", ".tf32"] if card < AMPERE else []
        lacking += ["griddepcontrol"] if card < HOPPER else []
        for each in lacking:  # where bfloat16 is none of a card's, Triton makes it of whole numbers
            assert each not in made.asm["ptx"] + str(signature), f"{each} on {card}: {what}"
    return len(found)
