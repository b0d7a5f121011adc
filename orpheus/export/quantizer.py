"""llama.cpp's own quantizer, for the kinds with a k: that of a package or a program that is installed."""

import os
import shutil
import subprocess

from orpheus.common.errors import InputError, OrpheusError
from orpheus.common.hub import brief
from orpheus.export.options import K_QUANTS

_WAYS = "pip install llama-cpp-python, pip install cyllama, or llama.cpp itself with llama-quantize on the PATH"


def find_quantizer():
    """A function (source, target, kind) that quantizes a GGUF file, and what it is from. Raises InputError where there is none."""
    for name, find in (("llama-cpp-python", _llama_cpp), ("cyllama", _cyllama), ("llama-quantize", _program)):
        found = find()
        if found is not None:
            return found, name
    raise InputError(
        f"the kinds {', '.join(K_QUANTS)} are written by llama.cpp's own quantizer, and none is installed (xllamacpp has none): "
        f"{_WAYS}. Or take q8_0 or q4_0, which need none"
    )


def _llama_cpp():
    try:
        import llama_cpp
    except (ImportError, OSError, RuntimeError):  # the last two from a library that does not load here
        return None

    def quantize(source, target, kind):
        import ctypes

        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype, parameters.nthread = K_QUANTS[kind], _threads()
        status = llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(parameters))
        if status:
            raise OrpheusError(f"llama-cpp-python could not quantize {source} to {kind} (status {status})")

    return quantize


def _cyllama():
    try:
        from cyllama.llama.llama_cpp import LlamaModelQuantizeParams, model_quantize
    except (ImportError, OSError):
        return None

    def quantize(source, target, kind):
        parameters = LlamaModelQuantizeParams()
        parameters.ftype, parameters.nthread = K_QUANTS[kind], _threads()
        try:
            model_quantize(str(source), str(target), parameters)
        except RuntimeError as error:
            raise OrpheusError(f"cyllama could not quantize {source} to {kind}: {brief(error)}") from error

    return quantize


def _program():
    program = shutil.which("llama-quantize")
    if program is None:
        return None

    def quantize(source, target, kind):
        done = subprocess.run([program, source, target, kind.upper(), str(_threads())], capture_output=True, text=True)
        if done.returncode:
            said = brief((done.stderr or done.stdout).strip().splitlines()[-1:])
            raise OrpheusError(f"{program} could not quantize {source} to {kind} (status {done.returncode}): {said}")

    return quantize


def _threads():
    return os.cpu_count() or 1
