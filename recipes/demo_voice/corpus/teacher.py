"""The teacher: Kokoro-82M (Apache-2.0) from an ONNX export, run node by node with PyTorch.

    python -m recipes.demo_voice.corpus.teacher pack kokoro.onnx kokoro_graph.npz      (needs the package onnx)

PyTorch alone then speaks, on a CPU or a GPU, and gives the durations that no other runtime shows. One sentence
is about 2,400 small kernels; what makes it fast is many processes at once.
"""

import argparse
import json

import numpy as np
import torch

from recipes.demo_voice.corpus.onnx_ops import OPERATORS

DURATIONS = "/encoder/Gather_output_0"
"""Output of the graph's node that holds the duration of every token, in units of 600 samples."""

WEIGHTED = ("Conv", "ConvTranspose", "MatMul", "LayerNormalization", "SkipLayerNormalization", "FastGelu")
"""Operators whose constants belong where the data is."""


def pack(onnx_path, out):
    """Writes the graph and its weights as one .npz that `Teacher` reads."""
    import onnx
    from onnx import helper, numpy_helper

    graph = onnx.load(onnx_path).graph
    weights = {f"w:{weight.name}": numpy_helper.to_array(weight) for weight in graph.initializer}
    nodes = []
    for node in graph.node:
        attributes = {}
        for attribute in node.attribute:
            value = helper.get_attribute_value(attribute)
            if attribute.type == onnx.AttributeProto.TENSOR:
                value = numpy_helper.to_array(value).tolist()
            elif isinstance(value, bytes):
                value = value.decode()
            attributes[attribute.name] = value if isinstance(value, (int, float, str, list)) else list(value)
        nodes.append([node.op_type, list(node.input), list(node.output), attributes])
    header = json.dumps(dict(nodes=nodes, names=list(weights))).encode()
    arrays = {f"a{index}": array for index, array in enumerate(weights.values())}
    np.savez_compressed(out, __g=np.frombuffer(header, np.uint8), **arrays)


def read_graph(path):
    """(nodes, weights by name) of a packed graph; int8 weights (q:, with scale s: and zero point z:) as float32."""
    stored = np.load(path)
    header = json.loads(bytes(stored["__g"]).decode())
    arrays = {name: stored[f"a{index}"] for index, name in enumerate(header["names"])}
    weights = {}
    for name, array in arrays.items():
        kind, plain = name[:2], name[2:]
        if kind == "w:":
            weights[plain] = torch.from_numpy(np.array(array))
        elif kind == "q:":
            values = (array.astype(np.float32) - arrays["z:" + plain]) * arrays["s:" + plain]
            weights[plain] = torch.from_numpy(values.astype(np.float32))
    return header["nodes"], weights


class Teacher:
    """Speaks phoneme strings. Not safe for threads: `durations` holds those of the last sentence."""

    def __init__(self, graph_path, vocabulary_path, device="cpu"):
        self.device = torch.device(device)
        nodes, self.weights = read_graph(graph_path)
        self.lstms = {
            outputs[0]: self._lstm(inputs, attributes)
            for name, inputs, outputs, attributes in nodes
            if name == "DynamicQuantizeLSTM"
        }
        matrices = {name for kind, inputs, _, _ in nodes if kind in WEIGHTED for name in inputs}
        for name, weight in self.weights.items():
            # Small constants are shapes and axes: they stay on the CPU, as does all the graph's bookkeeping.
            if name in matrices or weight.is_floating_point() and weight.numel() > 64:
                self.weights[name] = weight.to(self.device)
        last_use = {name: index for index, (_, inputs, _, _) in enumerate(nodes) for name in inputs}
        self.nodes = []
        for index, (kind, inputs, outputs, attributes) in enumerate(nodes):
            done = [name for name in set(inputs) if last_use[name] == index and name not in self.weights]
            self.nodes.append((kind, inputs, outputs, dict(attributes, operator=kind, outputs=len(outputs)), done))
        with open(vocabulary_path, encoding="utf-8") as file:
            self.vocabulary = json.load(file)["vocab"]
        self.durations = None

    def _lstm(self, inputs, attributes):
        """A bidirectional torch.nn.LSTM with the weights of onnxruntime's DynamicQuantizeLSTM."""
        weight, recurrent, bias = (self.weights[name] for name in inputs[1:4])
        scale, zero, recurrent_scale, recurrent_zero = (self.weights[name].float() for name in inputs[8:12])
        hidden = attributes["hidden_size"]
        lstm = torch.nn.LSTM(weight.shape[1], hidden, bidirectional=True)

        def reorder(gates):
            """ONNX has the gates as input, output, forget, cell; PyTorch as input, forget, cell, output."""
            input_gate, output_gate, forget_gate, cell = gates.chunk(4, 0)
            return torch.cat([input_gate, forget_gate, cell, output_gate], 0)

        for direction, suffix in enumerate(("", "_reverse")):
            values = {
                "weight_ih_l0": ((weight[direction].float() - zero[direction]) * scale[direction]).t(),
                "weight_hh_l0": (
                    (recurrent[direction].float() - recurrent_zero[direction]) * recurrent_scale[direction]
                ).t(),
                "bias_ih_l0": bias[direction][: 4 * hidden],
                "bias_hh_l0": bias[direction][4 * hidden :],
            }
            for name, value in values.items():
                getattr(lstm, name + suffix).data = reorder(value).contiguous()
        return lstm.to(self.device).eval()

    def _run_lstm(self, name, states):
        """(steps, batch, inputs) to ONNX's (steps, directions, batch, hidden)."""
        output, _ = self.lstms[name](states.to(self.device))
        steps, batch, _ = output.shape
        return output.reshape(steps, batch, 2, -1).transpose(1, 2)

    def known(self, phonemes):
        """The symbols that the teacher has a token for; `durations` has one entry for each, and one at each end."""
        return "".join(symbol for symbol in phonemes if symbol in self.vocabulary)

    @torch.inference_mode()
    def __call__(self, phonemes, styles, speed=1.0):
        """Audio (float32, 24 kHz) of a phoneme string; `styles` is the voice's matrix (length, 256)."""
        tokens = [self.vocabulary[symbol] for symbol in self.known(phonemes)]
        style = np.ascontiguousarray(styles[min(len(tokens), len(styles)) - 1]).reshape(1, 256)
        values = {
            "tokens": torch.tensor([[0, *tokens, 0]]),
            "style": torch.from_numpy(style).to(self.device),
            "speed": torch.tensor([speed], dtype=torch.float32),
        }
        for kind, inputs, outputs, attributes, done in self.nodes:
            arguments = [values[name] if name in values else self.weights[name] if name else None for name in inputs]
            if kind == "DynamicQuantizeLSTM":
                results = self._run_lstm(outputs[0], arguments[0])
            else:
                results = OPERATORS[kind](arguments, attributes)
            if kind == "DequantizeLinear" or kind == "ConstantOfShape" and results.is_floating_point():
                results = results.to(self.device)
            for name, value in zip(outputs, results if isinstance(results, list) else [results]):
                values[name] = value
            if outputs[0] == DURATIONS:
                self.durations = values[DURATIONS].cpu().numpy().copy()
            for name in done:
                values.pop(name, None)
        return values["audio"].float().cpu().numpy().ravel()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="ONNX file to .npz")
    packing.add_argument("onnx")
    packing.add_argument("out")
    options = parser.parse_args()
    pack(options.onnx, options.out)


if __name__ == "__main__":
    main()
