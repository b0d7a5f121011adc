"""SNAC, the audio codec: 24 kHz audio to codes and back, reproducibly.

SNAC's decoder adds noise at four places. Here the noise is a function of (request seed, place, absolute position), so the
same codes and seed give the same samples whether decoded all at once, in windows, or alongside other requests.
"""

import functools
import hashlib
import inspect
import json
import threading
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils import parametrize

from orpheus.codec.encoder import BatchEncoder
from orpheus.codec.noise import index_noise
from orpheus.codec.precision import full_precision
from orpheus.common.errors import CheckpointError
from orpheus.common.frame import CODES_PER_FRAME, CONTEXT_FRAMES, FRAME_SAMPLES, SAMPLE_RATE, VQ_STRIDES, WINDOW_FRAMES
from orpheus.common.tokens import deinterleave


def _fold_weight_norm(module):
    """Applies weight norm once and for all: at every decode it would take as long as the layers take for a frame."""
    for child in module.modules():
        if parametrize.is_parametrized(child, "weight"):
            parametrize.remove_parametrizations(child, "weight")


_RATES = ("encoder_rates", "decoder_rates", "vq_strides")


def check_frame_layout(config, source):
    """Refuses a SNAC configuration unless its frames are 7 codes per 2,048 samples at 24 kHz in our order."""
    if not isinstance(config, dict) or not all(isinstance(config.get(name), list) for name in _RATES):
        raise CheckpointError(f"the codec {source} is not a SNAC: its config.json lacks the lists {', '.join(_RATES)}")
    hop = int(np.prod(config["encoder_rates"]))
    found = {
        "sampling_rate": config.get("sampling_rate"),
        "vq_strides": config.get("vq_strides"),
        "samples per frame": hop * max(config["vq_strides"], default=0),
        "samples per frame when decoding": int(np.prod(config["decoder_rates"])) * max(config["vq_strides"], default=0),
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


def _load_weights(folder):
    """The state dict of a codec folder: safetensors, or the hub's pytorch_model.bin."""
    safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    try:
        if safe.exists():
            from safetensors.torch import load_file

            return load_file(safe)
        if pickled.exists():
            return torch.load(pickled, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors and pickle each raise their own errors for a damaged file
        raise CheckpointError(f"the codec weights in {folder} cannot be read ({error}): download them again") from error
    raise CheckpointError(f"{folder} has neither model.safetensors nor pytorch_model.bin: not a SNAC folder")


class Codec:
    """SNAC on one device, float32. `codebook_size` is the number of codes per level."""

    def __init__(self, model):
        self.model = model.eval().requires_grad_(False)
        self.codebook_size = model.codebook_size
        self.device = next(model.parameters()).device
        self.encoder = BatchEncoder(model)
        self._noise_context, self._lock = {}, threading.Lock()  # one decode at a time
        _fold_weight_norm(model.decoder)
        index_noise(model.decoder, self._noise_context)

    @classmethod
    def from_folder(cls, folder, device="cpu"):
        """Loads `config.json` with `model.safetensors` or `pytorch_model.bin`. Raises CheckpointError."""
        folder = Path(folder)
        try:
            config = json.loads((folder / "config.json").read_text())
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder / 'config.json'} cannot be read ({error}): not a SNAC folder") from error
        check_frame_layout(config, folder)
        from snac import SNAC

        known = inspect.signature(SNAC).parameters  # the file may hold more, such as model_type
        model = SNAC(**{name: value for name, value in config.items() if name in known})
        try:
            weights = {name: value.float() for name, value in _load_weights(folder).items()}
            model.load_state_dict(weights)
        except (RuntimeError, AttributeError) as error:
            raise CheckpointError(f"the codec weights in {folder} do not fit its config.json: {error}") from error
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
