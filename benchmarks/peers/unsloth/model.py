"""Unsloth's side of a model: loading with a LoRA adapter as its notebook does, and what its trainers leave on the model.

Importing Unsloth replaces the Llama classes of transformers, `transformers.Trainer`, peft's forward and trl's trainers for
good, so all of this belongs into a process of its own.
"""

import gc
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Unsloth writes the trainers it generates there; by default into the current folder.
os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(Path(tempfile.gettempdir()) / "unsloth_compiled_cache"))

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def load_model(checkpoint, length, rank=64, four_bit=False, adapter=None):
    """Base model, LoRA and tokenizer as in Unsloth's notebook. `length` is the longest example's.

    returns: (model, tokenizer)
    """
    from unsloth import FastLanguageModel  # before transformers, peft and trl

    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=str(checkpoint), max_seq_length=max(2048, length), dtype=None, load_in_4bit=four_bit
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=rank,
        target_modules=TARGETS,
        lora_alpha=rank,
        lora_dropout=0,
        bias="none",
        use_gradient_checkpointing="unsloth",
        random_state=3407,
        use_rslora=False,
        loftq_config=None,
    )
    if adapter:
        load_adapter(model, adapter)
    return model, tokenizer


def load_adapter(model, folder):
    """Puts the weights of an adapter folder into the model's own LoRA layers."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    outcome = set_peft_model_state_dict(model, load_file(Path(folder) / "adapter_model.safetensors"))
    if outcome.unexpected_keys:
        raise ValueError(f"{folder} does not fit: {outcome.unexpected_keys[:3]} ...")


def trainable(model):
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def copy_weights(model):
    return {name: parameter.detach().clone() for name, parameter in trainable(model).items()}


def restore_weights(model, weights):
    for name, parameter in trainable(model).items():
        parameter.data.copy_(weights[name])
        parameter.grad = None


def randomize_adapter(model):
    """Weights that are not zero, as after training."""
    for name, parameter in trainable(model).items():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.01)


@contextmanager
def varlen_attention(wanted):
    """Before 2.12 torch's varlen_attn lacks `enable_gqa`, so that Unsloth without flash-attn and xformers attends to a
    packed row example by example. The kernel below it takes grouped heads already; Unsloth's own call of it is enough.
    """
    if not wanted:
        yield
        return
    from torch.nn.attention.varlen import varlen_attn
    from unsloth.utils import attention_dispatch

    replaced = {"_TORCH_VARLEN_ATTN": varlen_attn, "_LEAN_VARLEN": True, "_varlen_can_use_cudnn": lambda *a, **k: False}
    if attention_dispatch._TORCH_VARLEN_ATTN is not None:
        replaced = {}
    before = {name: getattr(attention_dispatch, name, None) for name in replaced}
    try:
        vars(attention_dispatch).update(replaced)
        yield
    finally:
        vars(attention_dispatch).update(before)


@contextmanager
def own_forwards(model):
    """Takes back the forwards that accelerate (autocast) and trl (a fused head) put on the model's instances."""
    modules = (model, model.get_base_model())
    before = [module.__dict__.get("forward") for module in modules]
    try:
        yield
    finally:
        for module, forward in zip(modules, before):
            module.__dict__.pop("forward", None)
            if forward is not None:
                module.__dict__["forward"] = forward


def free_memory():
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib():
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if torch.cuda.is_available() else None


def versions():
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("unsloth", "unsloth_zoo", "torch", "transformers", "peft", "trl", "bitsandbytes", "triton"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def held_out_loss(model, examples):
    """Mean cross-entropy of the examples' labels, from the model's logits one example at a time."""
    import torch

    former = os.environ.get("UNSLOTH_RETURN_LOGITS")
    os.environ["UNSLOTH_RETURN_LOGITS"] = "1"
    total, count = 0.0, 0
    try:
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
            for example in examples:
                ids = torch.tensor([example["input_ids"]], device="cuda")
                labels = torch.tensor(example["labels"], device="cuda")[1:]
                logits = model(input_ids=ids).logits[0, :-1].float()
                total += torch.nn.functional.cross_entropy(logits, labels, reduction="sum").item()  # -100 is left out
                count += int((labels != -100).sum())
    finally:
        if former is None:
            del os.environ["UNSLOTH_RETURN_LOGITS"]
        else:
            os.environ["UNSLOTH_RETURN_LOGITS"] = former
    return total / count
