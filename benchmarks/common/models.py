"""Models of full size with random weights, made on the device: speed needs no downloads."""

import tempfile
from pathlib import Path

import torch
from snac import SNAC

from orpheus.codec.snac import Codec
from orpheus.engines.loading import choose_engine, load_tokenizer
from orpheus.engines.transformers import TransformersEngine
from orpheus.speech.model import LoadedModel
from orpheus.text.prompt import PromptBuilder
from tests.fakes.checkpoints import ORPHEUS_3B_CONFIG, ORPHEUS_LAYOUT, save_tokenizer, snac_config, walking_model

ENDLESS = 10**6  # frames of speech on average: end-of-speech is as good as never drawn
FULL_SHAPE = snac_config(4096, encoder_dim=48, decoder_dim=1024)  # hubertsiuzdak/snac_24khz


def random_orpheus(device, dtype=torch.bfloat16):
    """A language model of Orpheus-3B's shape with random weights, made on `device`, that walks through the frame's positions
    without an end (tests/fakes/checkpoints.py), and its TokenLayout. In bfloat16: 6.6 GB."""
    model = walking_model(ORPHEUS_3B_CONFIG, ORPHEUS_LAYOUT, ENDLESS, dtype=dtype, device=device, margin=11.0)
    return model, ORPHEUS_LAYOUT


def random_prompt(layout):
    """Ids of a text of Orpheus' usual length, framed as the model expects it."""
    text = [1000 + 37 * index for index in range(33)]
    begin = [layout.start_of_human, layout.begin_of_text]
    end = [layout.end_of_turn, layout.end_of_human, layout.start_of_ai, layout.start_of_speech]
    return [*begin, *text, *end]


def full_size_files(folder, model=None):
    """Files of Orpheus-3B's shape and its vocabulary, `model` or a new one of `random_orpheus`; kept where they are there."""
    folder = Path(folder)
    complete = folder / "complete"
    if not complete.exists():
        (model or random_orpheus("cuda")[0]).save_pretrained(folder, max_shard_size="2GB")
        save_tokenizer(folder, ORPHEUS_LAYOUT)
        complete.touch()
    return folder


def our_engine(model, layout, weights="same"):
    """The engine that speaking takes for this model here, with its linear layers as `weights` (see FastEngine)."""
    return choose_engine("auto" if weights == "same" else f"fast-{weights}", model, layout)


def random_model(device):
    """A LoadedModel of the full shape without files: random weights, Orpheus' vocabulary over bytes, transformers' engine."""
    model, layout = random_orpheus(device)
    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(folder, layout)
        prompts = PromptBuilder(load_tokenizer(folder), layout)
    name, engine = "Orpheus-3B's shape, random weights", TransformersEngine(model, layout)
    return LoadedModel(name, engine, prompts, random_codec(device))


def random_codec(device):
    """A Codec of the 24 kHz SNAC's shape with random weights. Good for decoding: it gives the same few codes for any speech."""
    torch.manual_seed(0)
    return Codec(SNAC(**FULL_SHAPE).to(device))


@torch.no_grad()
def full_shape_codec(device, speech, config=FULL_SHAPE):
    """A SNAC with random weights whose codes vary as those of trained ones do.

    As initialised, the package's model gives three codes for any speech: its biases drown the audio. So every channel is
    scaled and shifted to mean 0 and deviation 1 on `speech`, weight norm's own initialisation (Salimans & Kingma 2016).
    """

    def normalise(convolution, _, output):
        values = output.transpose(0, 1).flatten(1)
        mean, deviation = values.mean(1), values.std(1).clamp_min(1e-6)
        convolution.parametrizations.weight.original0.data /= deviation[:, None, None]
        convolution.bias.data = (convolution.bias.data - mean) / deviation
        return (output - mean[:, None]) / deviation[:, None]

    torch.manual_seed(0)
    model = SNAC(**config).to(device).eval()
    parts = [*model.encoder.modules(), *model.quantizer.modules()]
    hooks = [part.register_forward_hook(normalise) for part in parts if isinstance(part, torch.nn.Conv1d)]
    model.encode(torch.from_numpy(speech).to(device)[None, None])
    for hook in hooks:
        hook.remove()
    return Codec(model)
