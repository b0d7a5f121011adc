"""Checkpoints in the real formats, made on the spot: what the tests load instead of downloading.

The language model is a Llama with random weights and one thing laid in by hand, the walk from slot to slot: it answers
a token of slot j with one of slot j + 1, and now and then with end-of-speech at a frame's border. So the real loading
and generating code has something to do at any size, from a unit test to the full 3B shape.
"""

import json
import math
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from orpheus.common.frame import CODES_PER_FRAME
from orpheus.common.tokens import CONTROL_TOKENS, TokenLayout

ORPHEUS_LAYOUT = TokenLayout()
SMALL_LAYOUT = TokenLayout(codebook_size=32, base=258, begin_of_text=256, end_of_turn=257)

ORPHEUS_3B_CONFIG = {  # unsloth/orpheus-3b-0.1-ft
    "vocab_size": 156_940,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 28,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}
SMALL_SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
SMALL_CONFIG = (
    ORPHEUS_3B_CONFIG | SMALL_SHAPE | {"vocab_size": SMALL_LAYOUT.last_audio + 1, "max_position_embeddings": 16_384}
)


def save_tokenizer(folder, layout, more=()):
    """A byte-level tokenizer with the ids of `layout`, `<custom_token_N>` included, as an AutoTokenizer folder.

    more: further added tokens, after these, as relatives of Orpheus have them: `<|audio|>`, `<laugh>`, `<spk_kavya>`
    """
    vocab = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocab |= {f"unused {index}": index for index in range(len(vocab), layout.begin_of_text)}
    tokenizer = Tokenizer(models.BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = {layout.begin_of_text: "<|begin_of_text|>", layout.end_of_turn: "<|eot_id|>"}
    specials = [names.get(index, f"<|reserved_{index}|>") for index in range(layout.begin_of_text, layout.base)]
    tokenizer.add_special_tokens(specials)
    bos = "<|begin_of_text|>"  # Llama's tokenizer puts it before every text that it is not told to leave alone
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, layout.begin_of_text)]
    )
    customs = CONTROL_TOKENS + CODES_PER_FRAME * layout.codebook_size
    customs += layout == ORPHEUS_LAYOUT and 2  # the real vocabulary has two more than it needs
    tokenizer.add_tokens([AddedToken(f"<custom_token_{n}>", normalized=False) for n in range(customs)])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in more])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>"
    ).save_pretrained(folder)


@torch.no_grad()
def walking_model(config, layout, frames=10, seed=0, dtype=torch.float32, device="cpu", margin=8.0):
    """The LlamaForCausalLM described above; speech is about `frames` frames long at temperature 0.6."""
    torch.manual_seed(seed)
    config = LlamaConfig(**config, bos_token_id=layout.begin_of_text, eos_token_id=layout.end_of_speech)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(before)
    root = math.sqrt(config.hidden_size)
    length = 20 / root  # of what a token says besides its slot: short enough not to call for itself again
    added = 0.6 * length / math.sqrt(2 * config.num_hidden_layers) / root  # what one attention or MLP adds to the state
    inner = {"o_proj": config.num_attention_heads * config.head_dim, "down_proj": config.intermediate_size}
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            inputs = inner.get(name.split(".")[-2])
            parameter.normal_(0, 2 * added / math.sqrt(inputs) if inputs else 0.8 / root)
    embedding = model.get_input_embeddings().weight.normal_(0, length / root)
    along = margin / root  # a token's part along its slot's direction: logit `margin` once the state points there
    embedding[:, :CODES_PER_FRAME] = 0
    for slot in range(CODES_PER_FRAME):
        start = layout.range_start(slot)
        embedding[start : start + layout.codebook_size, slot] = along
    embedding[layout.start_of_speech, CODES_PER_FRAME - 1] = along
    embedding[layout.end_of_speech] = -2 * embedding[layout.start_of_speech]  # never the very first token
    embedding[layout.end_of_speech, :CODES_PER_FRAME] = 0
    embedding[layout.end_of_speech, 0] = along + math.log(layout.codebook_size / frames) * 0.6 / root
    mlp = model.model.layers[-1].mlp
    step = root * along / math.hypot(along, 1.6 * length)  # a slot's direction in the normalised state
    for slot in range(CODES_PER_FRAME):
        for projection in (mlp.gate_proj, mlp.up_proj):
            projection.weight[slot] = 0
            projection.weight[slot, slot] = 1
        mlp.down_proj.weight[:, slot] = 0
        mlp.down_proj.weight[(slot + 1) % CODES_PER_FRAME, slot] = 4 * length / step**2
    return model.eval()


def snac_config(codebook_size, encoder_dim=4, decoder_dim=32):
    """SNAC's configuration with the 24 kHz frame layout; the real one has encoder_dim 48 and decoder_dim 1024."""
    return {
        "sampling_rate": 24_000,
        "encoder_dim": encoder_dim,
        "encoder_rates": [2, 4, 8, 8],
        "decoder_dim": decoder_dim,
        "decoder_rates": [8, 8, 4, 2],
        "attn_window_size": None,
        "codebook_size": codebook_size,
        "codebook_dim": 8,
        "vq_strides": [4, 2, 1],
        "noise": True,
        "depthwise": True,
    }


def save_codec(folder, config, pickled=False):
    """A SNAC with random weights as a folder, `pytorch_model.bin` (as on the hub) or `model.safetensors`."""
    from snac import SNAC

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    state = SNAC(**config).state_dict()
    for name, value in state.items():
        if "codebook" in name:
            value.normal_()
    if pickled:
        torch.save(state, folder / "pytorch_model.bin")
    else:
        save_file(state, folder / "model.safetensors")


def save_voice(
    folder, config=SMALL_CONFIG, layout=SMALL_LAYOUT, voices=("ann", "bob"), piece_seconds=None, more=(), **walk
):
    """A whole voice: model, tokenizer, with the added tokens `more`, and codec. Returns the folder."""
    folder = Path(folder)
    model = walking_model(config | {"vocab_size": config["vocab_size"] + len(more)}, layout, **walk)
    if voices:
        model.config.voices = list(voices)
    if piece_seconds:
        model.config.piece_seconds = piece_seconds
    model.save_pretrained(folder)
    save_tokenizer(folder, layout, more)
    save_codec(folder / "codec", snac_config(layout.codebook_size))
    return folder


def save_adapter(folder, model_folder, base_name, rank=4, seed=1, size=0.005):
    """A LoRA adapter with non-zero weights for the model in `model_folder`, said to be made for `base_name`."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    model = LlamaForCausalLM.from_pretrained(model_folder, dtype="auto")
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    tuned = get_peft_model(model, LoraConfig(r=rank, lora_alpha=rank, target_modules=targets))
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=size)
    tuned.peft_config["default"].base_model_name_or_path = base_name
    tuned.save_pretrained(folder, save_embedding_layers=False)
    return Path(folder)


def write_tuned(folder, model_folder, base_name, voices=(), description=None, report=None, settings=None):
    """The same in the files of a fine-tune: what `orpheus.export.adapter` writes at a run's end."""
    from peft import PeftModel

    from orpheus.engines.loading import load_tokenizer
    from orpheus.export.adapter import write_adapter

    class Report:
        markdown = staticmethod(lambda: "# Data")
        summary = staticmethod(lambda: {"dataset": "fake", "speakers": list(voices)})

    with tempfile.TemporaryDirectory() as temporary:
        plain, log = (
            save_adapter(Path(temporary) / "plain", model_folder, base_name, size=0.02),
            Path(temporary) / "log",
        )
        log.write_text('{"step": 1, "loss": 2.0}\n{"step": 1, "held_out_loss": 2.5}\n')
        model = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(model_folder, dtype=torch.float32), plain)
        tokenizer, settings = load_tokenizer(model_folder), settings or {"license": None, "speaker": "1e5"}
        found = (report or Report, log)
        write_adapter(folder, model, tokenizer, base_name, voices, settings, {}, *found, description=description)
    return Path(folder)


def save_full_size_voice(folder, device="cuda", frames=10**6):
    """Orpheus-3B's shape with random weights in bf16 (6.6 GB), its vocabulary, and the 24 kHz SNAC's shape."""
    folder = Path(folder)
    model = walking_model(ORPHEUS_3B_CONFIG, ORPHEUS_LAYOUT, frames, dtype=torch.bfloat16, device=device, margin=11.0)
    model.save_pretrained(folder)
    save_tokenizer(folder, ORPHEUS_LAYOUT)
    save_codec(folder / "codec", snac_config(4096, encoder_dim=48, decoder_dim=1024), pickled=True)
    return folder


if __name__ == "__main__":
    import sys

    print(save_full_size_voice(sys.argv[1]))
