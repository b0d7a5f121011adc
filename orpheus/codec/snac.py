"""SNAC, the audio codec: 24 kHz audio to codes and back, reproducibly.

SNAC's decoder adds noise at four places. Here the noise is a function of (request seed, place, absolute position), so the
same codes and seed give the same samples whether decoded all at once, in windows, or alongside other requests.
"""

import functools
import hashlib
import inspect
import math
import re
import threading
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn.utils import parametrize

from orpheus.codec.captured import CAPTURED_FRAMES, CapturedWindows
from orpheus.codec.encoder import BatchEncoder
from orpheus.codec.noise import index_noise
from orpheus.codec.precision import full_precision
from orpheus.common.errors import CheckpointError
from orpheus.common.frame import CODES_PER_FRAME, CONTEXT_FRAMES, FRAME_SAMPLES, SAMPLE_RATE, VQ_STRIDES, WINDOW_FRAMES
from orpheus.common.hub import brief
from orpheus.common.options import SNAC_24KHZ
from orpheus.common.stored import FLAG, NOTHING, check_values, either, read_json, several, whole
from orpheus.common.tokens import deinterleave
from orpheus.common.weights import header


def _fold_weight_norm(module):
    """Applies weight norm once and for all: at every decode it would take as long as the layers take for a frame."""
    for child in module.modules():
        if parametrize.is_parametrized(child, "weight"):
            parametrize.remove_parametrizations(child, "weight")


_RATES = several(whole(1, 2048), 1, 8)
_CONFIG = {  # the 24 kHz SNAC has encoder_dim 48, decoder_dim 1024, 4,096 codes of 8 numbers
    "sampling_rate": whole(1, 1_000_000),
    "encoder_dim": whole(1, 512),
    "encoder_rates": _RATES,
    "latent_dim": either(NOTHING, whole(1, 131_072)),
    "decoder_dim": whole(1, 16_384),
    "decoder_rates": _RATES,
    "attn_window_size": either(NOTHING, whole(1, 65_536)),
    "codebook_size": whole(2, 65_536),
    "codebook_dim": whole(1, 1024),
    "vq_strides": several(whole(1, 64), 1, 8),
    "noise": FLAG,
    "depthwise": FLAG,
}
_NEEDED = ("encoder_rates", "decoder_rates", "vq_strides")
_CURE = f"Use the codec of the model, or {SNAC_24KHZ}: --codec {SNAC_24KHZ}"


def check_frame_layout(config, source):
    """Refuses a SNAC configuration unless its frames are 7 codes per 2,048 samples at 24 kHz in our order."""
    if not isinstance(config, dict) or not all(isinstance(config.get(name), list) for name in _NEEDED):
        raise CheckpointError(
            f"the codec {source} is not a SNAC: its config.json lacks the lists {', '.join(_NEEDED)}. {_CURE}"
        )
    check_values(config, _CONFIG, Path(source) / "config.json", _CURE)
    hop = math.prod(config["encoder_rates"])
    found = {
        "sampling_rate": config.get("sampling_rate"),
        "vq_strides": config.get("vq_strides"),
        "samples per frame": hop * max(config["vq_strides"], default=0),
        "samples per frame when decoding": math.prod(config["decoder_rates"]) * max(config["vq_strides"], default=0),
        "attn_window_size": config.get("attn_window_size"),
    }
    wanted = {
        "sampling_rate": SAMPLE_RATE,
        "vq_strides": list(VQ_STRIDES),
        "samples per frame": FRAME_SAMPLES,
        "samples per frame when decoding": FRAME_SAMPLES,
        "attn_window_size": None,  # attention sees the whole clip: no window of it could be exact
    }
    wrong = [f"{name} is {found[name]}, must be {wanted[name]}" for name in wanted if found[name] != wanted[name]]
    if wrong:
        raise CheckpointError(
            f"the codec {source} does not make {CODES_PER_FRAME} codes per {FRAME_SAMPLES} samples: {'; '.join(wrong)}. "
            "Orpheus needs the 24 kHz SNAC (hubertsiuzdak/snac_24khz)"
        )
    encoded = config.get("encoder_dim", 64) * 2 ** len(config["encoder_rates"])
    if config.get("latent_dim") not in (None, encoded):
        raise CheckpointError(
            f"latent_dim in {source} is {config['latent_dim']}, but its encoder makes {encoded} numbers. {_CURE}"
        )
    if config.get("decoder_dim", 1536) % 2 ** len(config["decoder_rates"]):
        raise CheckpointError(
            f"decoder_dim in {source} is {config.get('decoder_dim', 1536)}, which cannot be halved "
            f"{len(config['decoder_rates'])} times, once for each of decoder_rates. {_CURE}"
        )


def _stored_weights(folder):
    """(file, {name: shape}, what loads it) of a codec folder: safetensors, or the hub's pytorch_model.bin."""
    safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    if safe.is_file():
        shapes = {name: shape for name, (_, shape, _) in header(safe).items()}
        return safe, shapes, lambda: load_file(safe)
    if pickled.is_file():
        state = _unpickled(pickled)
        return pickled, {name: tuple(value.shape) for name, value in state.items()}, lambda: state
    raise CheckpointError(f"{folder} has neither model.safetensors nor pytorch_model.bin: not a SNAC folder. {_CURE}")


def _unpickled(path):
    """{name: tensor} of a file that torch.save wrote: tensors alone, and nothing is read of them yet. Raises CheckpointError."""
    try:
        with zipfile.ZipFile(path) as file:  # a packed part could be of any size
            packed = [part.filename for part in file.infolist() if part.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise ValueError(f"{packed[0]} in it is packed")
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if not isinstance(state, dict) or not all(
            isinstance(name, str) and type(value) in (torch.Tensor, torch.nn.Parameter) for name, value in state.items()
        ):
            raise ValueError("it is no list of named tensors")
        if sum(value.nbytes for value in state.values()) > path.stat().st_size:
            raise ValueError("tensors in it share their values")
        return state
    except (
        Exception
    ) as error:  # zipfile, pickle and torch each raise their own; torch's advice is to run the code in the file
        known = type(error) is ValueError or isinstance(error, (OSError, zipfile.BadZipFile))
        reason = brief(error) if known else "it holds more than tensors, or is damaged"
        raise CheckpointError(
            f"the codec weights {path} cannot be read: {reason}. Nothing in a file is run, so only plain tensors are read. "
            f"Copy or download it again, or put model.safetensors in its place. {_CURE}"
        ) from error


def _main_shapes(config):
    """{name: shape} of the weights that decide how much memory a SNAC takes; all others are no larger."""
    dim, width, weight = config["encoder_dim"], config["decoder_dim"], "parametrizations.weight.original1"
    shapes = {f"encoder.block.0.{weight}": (dim, 1, 7)}
    for place, stride in enumerate(config["encoder_rates"], 1):
        shapes[f"encoder.block.{place}.block.4.{weight}"] = (2 * dim, dim, 2 * stride)
        dim *= 2
    for place in range(len(config["vq_strides"])):
        shapes[f"quantizer.quantizers.{place}.in_proj.{weight}"] = (config["codebook_dim"], dim, 1)
        shapes[f"quantizer.quantizers.{place}.codebook.weight"] = (config["codebook_size"], config["codebook_dim"])
    first = 1 if config["depthwise"] else 0
    shapes[f"decoder.model.{first}.{weight}"] = (width, dim, 1 if first else 7)
    for place, stride in enumerate(config["decoder_rates"], first + 1):
        shapes[f"decoder.model.{place}.block.1.{weight}"] = (width, width // 2, 2 * stride)
        width //= 2
    return shapes


def _check_shapes(there, wanted, folder, whole=True):
    """Refuses weights of other names, if `whole`, or shapes than are wanted. Raises CheckpointError."""
    wrong = [f"{name} is missing" for name in wanted.keys() - there.keys()]
    wrong += [f"{name} has no place" for name in there.keys() - wanted.keys() if whole]
    wrong += [
        f"{name} is {there[name]}, must be {shape}" for name, shape in wanted.items() if there.get(name, shape) != shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise CheckpointError(
            f"the codec weights in {folder} do not fit its config.json: {'; '.join(sorted(wrong)[:3])}{more}. Copy both from one "
            f"codec. {_CURE}"
        )


_FORMER = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}


def _now(named):
    """{name: value} under the names that torch gives the two parts of a normed weight today."""
    return {re.sub(r"weight_[gv]$", lambda part: _FORMER[part[0]], name): value for name, value in named.items()}


def _build(config, folder):
    """The SNAC of a codec folder with its weights; nothing is allocated before their shapes are known to fit."""
    from snac import SNAC

    known = inspect.signature(SNAC).parameters  # the file may hold more, such as model_type
    given = {name: parameter.default for name, parameter in known.items()} | {
        n: v for n, v in config.items() if n in known
    }
    path, shapes, load = _stored_weights(folder)
    _check_shapes(_now(shapes), _main_shapes(given), folder, whole=False)
    model = SNAC(**given)
    _check_shapes(_now(shapes), {name: tuple(value.shape) for name, value in model.state_dict().items()}, folder)
    try:
        weights = {name: value.to(torch.float32, copy=path.suffix == ".bin") for name, value in _now(load()).items()}
    except Exception as error:  # safetensors raises its own
        raise CheckpointError(f"the codec weights {path} cannot be read ({brief(error)}): copy them again") from error
    damaged = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if damaged:
        raise CheckpointError(
            f"the codec weights {path} have NaN or infinite values in {len(damaged)} of {len(weights)}, including "
            f"{damaged[0]}: they are damaged. {_CURE}"
        )
    model.load_state_dict(weights, assign=True)
    return model


class Codec:
    """SNAC on one device, float32. `codebook_size` is the number of codes per level."""

    def __init__(self, model):
        self.model = model.eval().requires_grad_(False)
        self.codebook_size = model.codebook_size
        self.device = next(model.parameters()).device
        self.encoder = BatchEncoder(model)
        self._noise_context, self._lock = {}, threading.Lock()  # one decode at a time
        self._window_lock = threading.Lock()
        _fold_weight_norm(model.decoder)
        index_noise(model.decoder, self._noise_context)
        self._captured = CapturedWindows(self.decode_levels, self.device) if self.device.type == "cuda" else None

    @classmethod
    def from_folder(cls, folder, device="cpu"):
        """Loads `config.json` with `model.safetensors` or `pytorch_model.bin`. Raises CheckpointError."""
        folder = Path(folder)
        config = read_json(folder / "config.json")
        check_frame_layout(config, folder)
        model = _build(config, folder)
        return cls(model.to(device))

    @functools.cached_property
    def fingerprint(self):
        """SHA-256, in hex, of the weights that make codes (encoder and codebooks): the same on every device."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.model.state_dict().items()):
            if not name.startswith("decoder."):
                digest.update(f"{name} {tuple(weight.shape)}".encode())
                digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @torch.inference_mode()
    @full_precision()
    def decode_levels(self, levels, seeds, first_frames):
        """As `decode_windows`, of what is on the device already: nothing is copied, so a CUDA graph can record it.

        levels: int64 (B, frames), (B, 2 * frames), (B, 4 * frames); seeds, first_frames: int64 (B,)
        returns: float32 (B, frames * 2048) on the device
        """
        with self._lock:
            self._noise_context.update(frames=levels[0].shape[1], seeds=seeds, first_frame=first_frames)
            return self.model.decode(levels)[:, 0]

    def decode_windows(self, codes, seeds, first_frames):
        """Decodes a window of each of several requests, all of equal length, in one batch.

        codes: int64 (B, frames, 7) in frame order; seeds (B,): those of the requests
        first_frames (B,): index of each window's first frame in the whole
        returns: float32 (B, frames * 2048) on the device. What lacks context is said in `decode_window`.
        """
        levels = [deinterleave(row) for row in codes]
        levels = [torch.as_tensor(np.stack(level)).to(self.device) for level in zip(*levels, strict=True)]
        seeds, first_frames = (
            torch.as_tensor(numbers, dtype=torch.int64).to(self.device) for numbers in (seeds, first_frames)
        )
        return self.decode_levels(levels, seeds, first_frames)

    def decode_window(self, codes, seed, first_frame):
        """Decodes a window of consecutive frames of one request.

        codes: (frames, 7) in frame order; first_frame: index of the window's first frame in the whole
        returns: float32 (frames * 2048,). Samples closer than CONTEXT_FRAMES to an edge of the window lack context,
        unless the whole begins or ends there.
        """
        codes = np.asarray(codes, dtype=np.int64).reshape(1, -1, CODES_PER_FRAME)
        if self._captured and codes.shape[1] <= CAPTURED_FRAMES:
            levels = [torch.as_tensor(level)[None] for level in deinterleave(codes[0])]
            with self._window_lock:
                return self._captured(levels, seed, first_frame).numpy()
        return self.decode_windows(codes, [seed], [first_frame])[0].cpu().numpy()

    def decode(self, codes, seed=0):
        """Decodes codes (frames, 7) in frame order: float32 (frames * 2048,) in -1..1; long audio in exact windows."""
        codes = np.asarray(codes, dtype=np.int64).reshape(-1, CODES_PER_FRAME)
        audio = []
        for start in range(0, len(codes), WINDOW_FRAMES):
            end = min(start + WINDOW_FRAMES, len(codes))
            first = max(0, start - CONTEXT_FRAMES)
            window = self.decode_window(codes[first : end + CONTEXT_FRAMES], seed, first)
            audio.append(window[(start - first) * FRAME_SAMPLES : (end - first) * FRAME_SAMPLES])
        return np.concatenate(audio) if audio else np.zeros(0, np.float32)

    def encode(self, clips):
        """Encodes clips, float32 (samples,) at 24 kHz: a list of int64 (ceil(samples / 2048), 7) in frame order.

        The encoder batches clips in whatever order suits it; the codes equal those of encoding one by one, each clip
        padded on the right with zeros to whole frames. Raises InputError for an empty clip.
        """
        return self.encoder.encode(clips).codes
