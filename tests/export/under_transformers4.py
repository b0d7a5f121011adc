"""What transformers 4 makes of folders, as JSON: config values, token ids, logits. Started by test_transformers4.py.

python under_transformers4.py REQUEST.json ANSWER.json
"""

import json
import sys
from pathlib import Path


def answer(request):
    """{"version", "config", "generation", "ids", "specials", "logits"}, by folder. Nothing of this project is imported."""
    import torch
    import transformers
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    def logits(model):
        with torch.inference_mode():
            return [model(torch.tensor([prompt])).logits[0, -1].tolist() for prompt in request["prompts"]]

    def model(folder):
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    made = {
        "version": transformers.__version__,
        "config": {},
        "generation": {},
        "ids": {},
        "specials": {},
        "logits": {},
    }
    for folder in request["tokenizers"]:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        made["ids"][folder] = [tokenizer(text)["input_ids"] for text in request["texts"]]
        made["ids"][folder] += [tokenizer(text, add_special_tokens=False)["input_ids"] for text in request["texts"]]
        made["specials"][folder] = [tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token]
    for folder in request["models"]:
        config, loaded = AutoConfig.from_pretrained(folder), model(folder)
        values = config.to_dict()
        made["config"][folder] = {name: values.get(name) for name in request["config"]} | {"dtype": str(config.dtype)}
        made["config"][folder]["inverse frequencies"] = loaded.model.rotary_emb.inv_freq.tolist()
        made["generation"][folder] = {name: getattr(loaded.generation_config, name) for name in request["generation"]}
        made["logits"][folder] = logits(loaded)
    for adapter, base in request["adapters"].items():
        from peft import PeftModel

        made["logits"][adapter] = logits(PeftModel.from_pretrained(model(base), adapter))
    return made


if __name__ == "__main__":
    request, written = map(Path, sys.argv[1:])
    written.write_text(json.dumps(answer(json.loads(request.read_text()))))
