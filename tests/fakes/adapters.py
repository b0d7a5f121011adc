"""LoRA adapters of every kind, made with peft, and what peft itself says with one beside the model."""

import json
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def train_adapter(folder, base, name=None, more_tokens=0, size=0.05, **lora):
    """Writes an adapter of `base` with random weights, as peft does after a training; returns its folder.

    name: of the base in its configuration; more_tokens: added to the model first; lora: of LoraConfig
    """
    torch.manual_seed(1)
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's, of what the tests are about
        if more_tokens:
            model.resize_token_embeddings(model.config.vocab_size + more_tokens)
        lora = {"r": 4, "lora_alpha": 8, "target_modules": list(LINEAR)} | lora
        tuned = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora))
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.data.add_(torch.randn_like(parameter) * size)
        tuned.peft_config["default"].base_model_name_or_path = str(base)
        tuned.save_pretrained(folder)
    change_config(folder, base_model_name_or_path=str(name or base))
    return Path(folder)


def anna_and_ben(folder, base):
    """{name: folder} of two adapters of a base, of different ranks and layers."""
    return {
        "anna": train_adapter(folder / "lora_anna", base),
        "ben": train_adapter(folder / "lora_ben", base, r=6, target_modules=["q_proj", "up_proj"]),
    }


def change_config(folder, **changes):
    """Changes an adapter_config.json; a value of None is written as null."""
    path = Path(folder) / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def unmerged(base, adapter, more_tokens=0):
    """The model with the adapter beside it, as peft loads it."""
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="sdpa")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if more_tokens:
            model.resize_token_embeddings(model.config.vocab_size + more_tokens)
        return PeftModel.from_pretrained(model, adapter).eval()


def add_tokens(adapter, base, *tokens):
    """Gives an adapter a tokenizer of its own: the base's with more tokens. Returns the adapter's folder."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(list(tokens))
    tokenizer.save_pretrained(adapter)
    return Path(adapter)
