"""What a GGUF file says of itself: the Llama's figures, the vocabulary, and under `orpheus.*` how to speak with it.

orpheus.description     the whole of orpheus.json, as JSON
orpheus.voices, .tags   lists of names; default_voice, language, prompt, piece_seconds, normalize_text as in orpheus.json
orpheus.codebook_size, .first_custom_token, .start_of_speech, .end_of_speech, .first_audio_token    ids
"""

import json
from dataclasses import dataclass

from orpheus.common.errors import CheckpointError
from orpheus.common.hub import read_json
from orpheus.engines.layers import rope_settings
from orpheus.export.llama import heads_of
from orpheus.text.description import as_json
from orpheus.text.prompt import FORMATS

_LLAMA3 = "\\p{N}{1,3}"  # in the expression by which Llama 3 cuts texts


EXAMPLE = "Good morning."


@dataclass(frozen=True)
class Facts:
    """What is written besides the model's own files."""

    name: str
    description: object  # ModelDescription
    layout: object  # TokenLayout
    tokenizer: object  # its tokenizer.json, a path
    license: str = ""
    base: str = ""  # the model that this is made from
    example: tuple = ()  # ids of the prompt for EXAMPLE with the default voice


def write_metadata(writer, config, facts, rows):
    """Adds all keys to a gguf.GGUFWriter. rows: of the embeddings. Raises CheckpointError for an unreadable tokenizer."""
    _write_figures(writer, config, rows)
    writer.add_name(facts.name)
    if facts.license:
        writer.add_license(facts.license)
    writer.add_tags(["text-to-speech", "orpheus"])
    if facts.description.language:
        writer.add_languages([facts.description.language])
    if facts.base:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, facts.base)
    _write_description(writer, facts)
    _write_vocabulary(writer, facts, rows)


def _write_figures(writer, config, rows):
    import gguf

    heads, groups, width = heads_of(config)
    rope = rope_settings(config)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(rows)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(groups)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_layer_norm_rms_eps(config.get("rms_norm_eps", 1e-6))
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(width)
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def _write_description(writer, facts):
    said, layout = as_json(facts.description), facts.layout
    writer.add_string("orpheus.description", json.dumps(said, ensure_ascii=False))
    writer.add_array("orpheus.voices", list(said["voices"]))
    writer.add_array("orpheus.tags", list(said["tags"]))
    for key in ("default_voice", "language", "prompt"):
        if said[key] is not None:
            writer.add_string(f"orpheus.{key}", said[key])
    writer.add_float32("orpheus.piece_seconds", said["piece_seconds"])
    writer.add_bool("orpheus.normalize_text", said["normalize_text"])
    writer.add_uint32("orpheus.codebook_size", layout.codebook_size)
    writer.add_uint32("orpheus.first_custom_token", layout.base)
    writer.add_uint32("orpheus.start_of_speech", layout.start_of_speech)
    writer.add_uint32("orpheus.end_of_speech", layout.end_of_speech)
    writer.add_uint32("orpheus.first_audio_token", layout.first_audio)


# --- the vocabulary --------------------------------------------------------------------------------------------------


def _write_vocabulary(writer, facts, rows):
    import gguf

    stored = read_json(facts.tokenizer)
    found = vocabulary(stored, rows, facts.tokenizer)
    if found is None:  # ids alone can be used
        writer.add_tokenizer_model("no_vocab")
        return
    tokens, types, merges = found
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(
        "llama-bpe" if _LLAMA3 in json.dumps(stored.get("pre_tokenizer")).replace("\\\\", "\\") else "gpt-2"
    )
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType[kind] for kind in types])
    writer.add_token_merges(merges or ["\u0120 \u0120"])  # older llama.cpp refuses a list of none
    writer.add_bos_token_id(facts.layout.begin_of_text)
    writer.add_eos_token_id(facts.layout.end_of_speech)  # where every client stops
    writer.add_pad_token_id(facts.layout.pad)
    writer.add_add_bos_token(False)  # it stands inside of the prompt
    writer.add_chat_template(chat_template(facts))


def vocabulary(stored, rows, path):
    """(tokens as bytes, names of gguf.TokenType, merges) of a tokenizer.json; None for another kind than byte-level BPE.

    Every `<custom_token_N>` is USER_DEFINED: llama.cpp prints CONTROL tokens as nothing, and clients of text would hear nothing.
    """
    model = stored.get("model") or {}
    if model.get("type", "BPE") != "BPE" or model.get("byte_fallback"):
        return None
    try:
        tokens, types = [f"[PAD{index}]".encode() for index in range(rows)], ["UNUSED"] * rows
        for token, index in model["vocab"].items():
            tokens[index], types[index] = token.encode(), "NORMAL"
        for token in stored.get("added_tokens") or ():
            is_custom = token["content"].startswith("<custom_token_")
            tokens[token["id"]] = token["content"].encode()
            types[token["id"]] = "CONTROL" if token["special"] and not is_custom else "USER_DEFINED"
        merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is no tokenizer that this program knows: it is incomplete or damaged") from error
    except IndexError as error:
        raise CheckpointError(
            f"{path} knows tokens beyond the model's {rows}: tokenizer and model are not of one training. Copy it again"
        ) from error
    return tokens, types, merges


def spelled(facts, text="{text}", voice=None):
    """A prompt as text clients write it: control tokens in their spelling."""
    layout, form = facts.layout, FORMATS[facts.description.prompt]
    names = {"begin_of_text": "<|begin_of_text|>", "end_of_turn": "<|eot_id|>"}

    def written(parts):
        return "".join(
            p if p.startswith("<") else names.get(p) or f"<custom_token_{getattr(layout, p) - layout.base}>"
            for p in parts
        )

    said = text
    if voice is not None:
        said = f"<spk_{voice}> {text}" if form.voice_token else form.voiced.format(voice=voice, text=text)
    return written((*form.opening, *form.human)) + said + written((*form.after, *form.speech))


def chat_template(facts):
    """A Jinja template that makes a prompt of the last message, "voice: text", for clients that chat."""
    return spelled(facts, "{{ messages[-1]['content'] }}")
