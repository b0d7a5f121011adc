"""What loading a model's weights takes of the GPU's memory, at most and after: one process for each way.

python -m benchmarks.common.loading MODEL same|int8
"""

import json
import sys

import torch

from orpheus.engines.loading import read_llama
from orpheus.speech.model import MODEL_FILES, choose_model, locate


def main(model, weights):
    folder = locate(choose_model(model, None, cuda=True)[0], MODEL_FILES)
    stored = read_llama(folder, None, "cuda")
    if stored is None:
        raise SystemExit(f"the fast engine cannot read {folder}")
    torch.zeros(1, device="cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    parts = stored.parts(weights)
    sizes = {
        "kept_gib": torch.cuda.memory_allocated() - before,
        "peak_gib": torch.cuda.max_memory_allocated() - before,
        "layer_gib": stored.config.layer_size * parts.embeddings.element_size(),
    }
    print(json.dumps({name: round(size / 2**30, 3) for name, size in sizes.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
