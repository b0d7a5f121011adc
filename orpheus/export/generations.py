"""Files that both generations of transformers read alike.

transformers 5 writes what 4 does not know. A class TokenizersBackend in tokenizer_config.json: the tokenizer fails to load. The
base of the rotary embedding in `rope_parameters` alone: 4 takes 10,000 instead of Llama 3's 500,000, without a word, and so does
whatever reads the older names (llama.cpp's converter, older vLLM). Both names side by side are read right by both.
"""

import json

_FAST = ("TokenizersBackend", "PreTrainedTokenizerFast")  # one class, renamed by transformers 5
_OF_THE_SAVING = ("backend", "is_local", "local_files_only")  # says how the tokenizer was loaded, not what it is


def for_both_generations(folder):
    """Rewrites the configurations that transformers 5 has put into a folder, those that are there."""
    for name, change in (("config.json", _model), ("tokenizer_config.json", _tokenizer)):
        path = folder / name
        if path.exists():
            config = change(json.loads(path.read_text(encoding="utf-8")))
            path.write_text(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _model(config):
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" in rope:  # not one dictionary for every kind of layer
        scaling = {name: value for name, value in rope.items() if name != "rope_theta"}
        scaled = scaling.get("rope_type", "default") != "default"
        config |= {"rope_theta": rope["rope_theta"], "rope_scaling": scaling if scaled else None}
    if config.get("dtype"):
        config["torch_dtype"] = config["dtype"]  # its name before 4.56
    return config


def _tokenizer(config):
    config = {name: value for name, value in config.items() if name not in _OF_THE_SAVING}
    if config.get("tokenizer_class") in _FAST:
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    extra = config.get("extra_special_tokens")
    if isinstance(extra, list):  # 4 wants them by name here, or without names there
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    return config
