"""A LoRA adapter's weights added to a model's, so that it runs as fast as without and says what `peft` computes unmerged.

Everything that the adapter's folder says is checked first: what is not understood is refused by name, never left out.
"""

from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from warnings import catch_warnings, filterwarnings, warn

from orpheus.common.checkpoints import ADAPTER_CONFIG, ADAPTER_WEIGHTS, check_config, check_within, explain
from orpheus.common.command import cure_of
from orpheus.common.errors import CheckpointError, InputError, OrpheusWarning
from orpheus.common.hub import brief, read_json
from orpheus.common.options import is_number, is_whole, shown
from orpheus.common.patterns import is_endless
from orpheus.common.stored import FLAG, NOTHING, OBJECT, TEXT, check_values, either, several, whole
from orpheus.common.weights import header

# What is taken over from adapter_config.json, and what says nothing about a trained adapter.
_USED = {
    *("r", "lora_alpha", "target_modules", "exclude_modules", "bias", "use_rslora", "use_dora", "modules_to_save"),
    *("layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "fan_in_fan_out"),
    *("trainable_token_indices", "ensure_weight_tying", "task_type"),
}
_WITHOUT_EFFECT = {
    *("peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode"),
    *("lora_dropout", "init_lora_weights", "megatron_config", "megatron_core", "qalora_group_size", "runtime_config"),
    *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "velora_config"),
}
_HARMLESS_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")  # all others change the base model's weights
_LARGEST_RANK = 16_384
_WHOLE = ("weight", "base_layer.weight")
_SHARED = ("embed_tokens", "lm_head")  # one matrix in a model that ties them


def adapter_config(folder):
    """An adapter's configuration, checked: it is LoRA, and all that it asks for can be done. Raises CheckpointError."""
    path = Path(folder) / ADAPTER_CONFIG
    config = read_json(path)
    check_config(config, path)
    kind = config.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(f"{path}: peft_type is {shown(kind)}; only LORA can be spoken with. Train a LoRA adapter")
    _check_figures(config, path)
    check_values(config, _NAMES, path)
    for name in ("target_modules", "exclude_modules", "rank_pattern", "alpha_pattern", "layers_pattern"):
        value = config.get(name)
        for pattern in [value] if isinstance(value, str) else value or ():
            if reason := is_endless(pattern):
                raise CheckpointError(
                    f"{path}: {name} has the pattern {shown(pattern)}, which {reason} and may search for hours. List the "
                    "modules by their names"
                )
    start = config.get("init_lora_weights", True)
    if start not in _HARMLESS_STARTS:
        raise CheckpointError(
            f"{path}: init_lora_weights is {shown(start)}, which changes the base model as well, so the adapter fits no model "
            "as it was published. Convert it where it was trained: peft's save_pretrained with "
            "path_initial_model_for_weight_conversion"
        )
    for name, value in _unusual(config):
        raise CheckpointError(
            f"{path}: {name} is {shown(value)}, which cannot be merged into the model. Merge it where it was trained, and "
            "give the merged model as --model"
        )
    return config


_MODULES = either(NOTHING, TEXT, several(TEXT, 0, 10_000))
_NAMES = {
    "target_modules": _MODULES,
    "exclude_modules": _MODULES,
    "modules_to_save": either(NOTHING, several(TEXT, 0, 1000)),
    "layers_pattern": _MODULES,
    "layers_to_transform": either(NOTHING, whole(0, 1000), several(whole(0, 1000), 0, 1000)),
    "bias": either(NOTHING, TEXT),
    "task_type": either(NOTHING, TEXT),
    **dict.fromkeys(("use_rslora", "use_dora", "fan_in_fan_out", "ensure_weight_tying"), either(NOTHING, FLAG)),
    "trainable_token_indices": either(NOTHING, OBJECT, several(whole(0, 2**31), 0, 1_000_000)),
}


def _check_figures(config, path):
    for name in ("rank_pattern", "alpha_pattern"):
        if not isinstance(config.get(name) or {}, dict):
            raise CheckpointError(f"{path}: {name} must name layers with their figures, not {shown(config[name])}")
    ranks = {"r": config.get("r", 8)} | {f"rank_pattern {k}": v for k, v in (config.get("rank_pattern") or {}).items()}
    alphas = {"lora_alpha": config.get("lora_alpha", 8)}
    alphas |= {f"alpha_pattern {k}": v for k, v in (config.get("alpha_pattern") or {}).items()}
    for name, value in ranks.items():
        if not (is_whole(value) and 1 <= value <= _LARGEST_RANK):
            raise CheckpointError(f"{path}: {name} must be a whole number of 1 to {_LARGEST_RANK}, not {shown(value)}")
    for name, value in alphas.items():
        if not (is_number(value) and 0 < value <= 1e6):
            raise CheckpointError(f"{path}: {name} must be above 0 and at most 1,000,000, not {shown(value)}")


def _unusual(config):
    """(name, value) of everything in an adapter's configuration that would be left out."""
    left_out = {name: value for name, value in config.items() if value and name not in _USED | _WITHOUT_EFFECT}
    if not left_out:
        return
    from peft import LoraConfig

    known = {f.name: f.default if f.default is not MISSING else None for f in fields(LoraConfig)}
    for name, value in left_out.items():
        # Of a newer peft: switches and structures change what is computed; numbers and words belong to them.
        is_set = value != known[name] if name in known else value is True or isinstance(value, (dict, list))
        if is_set:
            yield name, value


def adapter_shapes(folder):
    """{name as in the model: shape} of an adapter's weights. Raises InputError, CheckpointError."""
    folder = Path(folder)
    check_within(folder)
    path = folder / ADAPTER_WEIGHTS
    if not path.is_file():
        pickled = folder / "adapter_model.bin"
        if pickled.is_file():
            raise InputError(f"{folder} holds its weights as a pickle: {explain(pickled, '--lora')}")
        raise CheckpointError(
            f"{folder} has no {ADAPTER_WEIGHTS}: the adapter is incomplete. Copy or download that file too"
        )
    shapes = {_in_model(name): shape for name, (_, shape, _) in header(path).items()}
    if not any("lora_" in name for name in shapes):
        what = f"{len(shapes)} weights, none of them LoRA's" if shapes else "no weights"
        raise CheckpointError(f"{path} holds {what}: save the adapter again where it was trained")
    return shapes


def _in_model(name):
    return name.removeprefix("base_model.model.")


def vocabulary_of(shapes):
    """How many tokens the model had that an adapter was trained on, where its weights tell; else None.

    shapes: what `adapter_shapes` returns
    """
    rows = set()
    for name, shape in shapes.items():
        _, module, part = name.rpartition("embed_tokens.") if "embed_tokens." in name else name.rpartition("lm_head.")
        part = part.removeprefix("token_adapter.")
        if module and (part in _WHOLE or (module, part) == ("lm_head.", "lora_B.weight")):
            rows.add(shape[0])
        elif module and part == "lora_embedding_A":
            rows.add(shape[1])
    if len(rows) > 1:
        counts = " and ".join(map(str, sorted(rows)))
        raise CheckpointError(
            f"the adapter's weights are for {counts} tokens at once: save it again where it was trained"
        )
    return rows.pop() if rows else None


# --- onto a model ----------------------------------------------------------------------------------------------------


def merge_adapter(model, adapter, tokens=0):
    """Adds an adapter's weights to a model's; returns the model. One with quantised weights keeps the adapter beside them.

    Embeddings and head that were one matrix become two where the adapter changes one of them, or each in its own way.

    adapter: its folder; tokens: how many the tokenizer knows, if more than the model has
    Raises InputError and CheckpointError.
    """
    adapter = Path(adapter)
    config, shapes = adapter_config(adapter), adapter_shapes(adapter)
    with _errors_of(adapter), catch_warnings():
        filterwarnings("ignore", module="peft")
        tuned = _attach(model, adapter, config, shapes, tokens)
        base = tuned.get_base_model()
        if getattr(model, "is_quantized", False):
            return base.eval()
        _untie(base)
        dtype = model.dtype
        merged = tuned.merge_and_unload().to(dtype)  # whole modules come in the data type that they were saved in
    if not _is_tied(merged):
        merged.config.tie_word_embeddings = False
    return merged


@contextmanager
def _errors_of(adapter):
    try:
        yield
    except (CheckpointError, InputError):
        raise
    except KeyError as error:  # a whole module that is to be replaced and is not there
        raise CheckpointError(f"the adapter {adapter} lacks {error}: save it again where it was trained") from error
    except Exception as error:  # peft raises RuntimeError, ValueError and safetensors' own
        cure = f". {cure}" if (cure := cure_of(error)) else ""
        raise CheckpointError(f"the adapter {adapter} cannot be loaded onto the model: {brief(error)}{cure}") from error


def check_finite_adapter(state, adapter):
    """Refuses an adapter's weights, {name: tensor}, that are NaN or infinite. Raises CheckpointError."""
    for name, values in state.items():
        if values.is_floating_point() and not values.isfinite().all():
            raise CheckpointError(
                f"the adapter {adapter} has NaN or infinite values in {_in_model(name)}: its training failed. Train it again"
            )


def _attach(model, adapter, config, shapes, tokens):
    """The model with the adapter beside it, as peft loads it; each weight has found its place."""
    from peft import LoraConfig, PeftModelForCausalLM, set_peft_model_state_dict
    from safetensors.torch import load_file

    state = _once(load_file(adapter / ADAPTER_WEIGHTS), _is_tied(model))
    check_finite_adapter(state, adapter)
    _resize(model, adapter, shapes, tokens)
    _untie_if_stored_apart(model, state)
    known = {f.name for f in fields(LoraConfig)}  # an older peft refuses what a newer one wrote, even if it is off
    used = {
        name: value
        for name, value in config.items()
        if name in _USED and (value if name not in known else value is not None)
    }
    settings = LoraConfig(**used | {"task_type": "CAUSAL_LM", "inference_mode": True})
    tuned = PeftModelForCausalLM(model, settings)
    result = set_peft_model_state_dict(tuned, state)
    if result.unexpected_keys:
        raise CheckpointError(
            f"the adapter {adapter} does not fit: {len(result.unexpected_keys)} of its {len(state)} weights have no place in "
            f"the model, including {_in_model(result.unexpected_keys[0])}. It was made for another kind of model, or the names "
            f"in it and in {ADAPTER_CONFIG} disagree"
        )
    lacking = _lacking(tuned, result.missing_keys)
    if lacking:
        raise CheckpointError(
            f"the adapter {adapter} is incomplete: {len(lacking)} weights that {ADAPTER_CONFIG} asks for are missing, including "
            f"{_in_model(lacking[0]).replace('.default', '')}. Save it again where it was trained"
        )
    return tuned


def _is_tied(model):
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


def _once(state, tied):
    """What peft saves twice after a resizing, once: whole modules under their inner name too, tied tokens under both places."""
    kept = {
        name.replace(".modules_to_save.", "."): values for name, values in state.items() if ".modules_to_save." in name
    }
    kept |= {name: values for name, values in state.items() if ".modules_to_save." not in name}
    if tied and any("embed_tokens.token_adapter." in name for name in kept):
        kept = {name: values for name, values in kept.items() if "lm_head.token_adapter." not in name}
    return kept


def _lacking(tuned, missing):
    """Names of the adapter's own parameters that its file did not fill, under any of the names that they have."""
    places, absent = dict(tuned.named_parameters(remove_duplicate=False)), set(missing)
    filled = {id(parameter) for name, parameter in places.items() if name not in absent}
    own = [name for name in missing if ".default" in name]
    return [name for name in own if name not in places or id(places[name]) not in filled]


def _resize(model, adapter, shapes, tokens):
    """Gives the model as many rows as the adapter was trained with, and each of its tokens one."""
    import torch

    there, stored = model.get_input_embeddings().weight.shape[0], vocabulary_of(shapes)
    rows = stored or max(there, tokens)
    if rows < tokens:
        raise CheckpointError(
            f"the tokenizer in {adapter} knows {tokens} tokens, but its weights are for {rows}: they are not of one training"
        )
    if rows == there:
        return
    model.resize_token_embeddings(rows, mean_resizing=False)
    if rows > there:
        holders = _SHARED if _is_tied(model) else _SHARED[:1]
        if not any(
            part in name and name.endswith(_WHOLE) and ".lora_" not in name for name in shapes for part in holders
        ):
            warn(
                f"the adapter {adapter} has {rows - there} tokens that the model lacks and no embeddings for them: they get "
                "the mean of all others, as transformers begins with",
                OrpheusWarning,
                5,
            )
        with torch.no_grad():
            for weight in {model.get_input_embeddings().weight, model.get_output_embeddings().weight}:
                weight[there:] = weight[:there].float().mean(dim=0).to(weight.dtype)


def _plain(module):
    """The layer inside of peft's wrappers."""
    while inner := getattr(module, "base_layer", None) or getattr(module, "original_module", None):
        module = inner
    return module


def _untie(model):
    """Gives the head a matrix of its own where an adapter changes it or the embeddings."""
    from torch import nn

    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    changed = _plain(embeddings) is not embeddings or _plain(head) is not head
    if changed and _plain(embeddings).weight is _plain(head).weight:
        _plain(head).weight = nn.Parameter(_plain(embeddings).weight.detach().clone(), requires_grad=False)


def _untie_if_stored_apart(model, state):
    """The same where the adapter's file has both matrices whole, and they differ."""
    from torch import equal, nn

    parts = [
        next((v for name, v in state.items() if name.endswith((f"{part}.weight", f"{part}.base_layer.weight"))), None)
        for part in _SHARED
    ]
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    if all(part is not None for part in parts) and _is_tied(model) and not equal(*parts):
        head.weight = nn.Parameter(embeddings.weight.detach().clone(), requires_grad=False)
