"""Codecs of unknown origin: each loads or is refused with a clear message, at once, and takes no memory that its files don't."""

import json
import pickle
import random
import resource
import time
import zipfile

import pytest
import torch

from orpheus.codec.snac import Codec
from orpheus.common.errors import CheckpointError
from tests.fakes.checkpoints import save_codec, snac_config
from tests.fakes.hostile import change_header, write_changed

SMALL = snac_config(32)


@pytest.fixture
def folder(tmp_path):
    save_codec(tmp_path, SMALL)
    return tmp_path


def refused(folder, message):
    with pytest.raises(CheckpointError, match=message) as error:
        Codec.from_folder(folder)
    assert "weights_only=False" not in str(error.value) and "\n" not in str(error.value)


def change(folder, **changes):
    (folder / "config.json").write_text(json.dumps(SMALL | changes))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"sampling_rate": "24000"}, "sampling_rate in .*config.json is '24000': it must be a whole number"),
        ({"encoder_dim": 10**9}, "encoder_dim in .* is 1000000000: it must be a whole number of 1 to 512"),
        ({"encoder_dim": 512}, r"encoder.block.0.*original1 is \(4, 1, 7\), must be \(512, 1, 7\)"),
        ({"encoder_dim": 4.0}, "encoder_dim .* is 4.0"),
        ({"encoder_rates": [2, 4, 8, -8]}, "encoder_rates .* each a whole number of 1 to 2,048"),
        ({"encoder_rates": [0, 4, 8, 8]}, "encoder_rates"),
        ({"encoder_rates": [1] * 5 + [2, 4, 8, 8]}, "encoder_rates .* a list of 1 to 8 items"),
        ({"encoder_rates": [512]}, r"encoder.block.1.*, must be \(8, 4, 1024\)"),
        ({"decoder_rates": []}, "decoder_rates in"),
        ({"decoder_rates": [[8], 8, 4, 2]}, "decoder_rates in"),
        ({"vq_strides": [4, 2, None]}, "vq_strides in"),
        ({"vq_strides": [4, 2, 2]}, r"vq_strides is \[4, 2, 2\], must be \[4, 2, 1\]"),
        ({"decoder_dim": 1}, "decoder_dim in .* is 1, which cannot be halved 4 times"),
        ({"decoder_dim": 16_384}, r"decoder.model.1.* must be \(16384, 64, 1\)"),
        ({"decoder_dim": None}, "decoder_dim in .* is None"),
        ({"latent_dim": 100_000}, "latent_dim in .* is 100000, but its encoder makes 64 numbers"),
        ({"codebook_size": 2**40}, "codebook_size .* 2 to 65,536"),
        ({"codebook_size": True}, "codebook_size .* is True"),
        ({"codebook_size": 65_536}, r"codebook.weight is \(32, 8\), must be \(65536, 8\)"),
        ({"codebook_dim": -8}, "codebook_dim"),
        ({"noise": "no"}, "noise in .* is 'no': it must be true or false"),
        ({"noise": False}, "decoder.model.2.block.2.block.0.alpha is missing"),
        ({"depthwise": False}, "do not fit its config.json"),
        ({"attn_window_size": 32}, "attn_window_size is 32, must be None"),
    ],
)
def test_figures_that_no_codec_has(folder, changes, message):
    change(folder, **changes)
    began = time.process_time()
    refused(folder, message)
    assert time.process_time() - began < 10


def test_weights_that_are_no_numbers(folder):
    save_codec(folder, SMALL, pickled=True)
    (folder / "model.safetensors").unlink()
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    assert Codec.from_folder(folder).codebook_size == 32
    for value in (float("nan"), float("inf")):
        state["quantizer.quantizers.1.codebook.weight"][3, 3] = value
        torch.save(state, folder / "pytorch_model.bin")
        refused(folder, "NaN or infinite values in 1 of .*, including quantizer.quantizers.1.codebook.weight")


def test_names_that_torch_gave_before(folder):
    save_codec(folder, SMALL, pickled=True)
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    ends = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    former = {name: value for name, value in state.items()}
    for now, then in ends.items():
        former = {name.replace(now, then): value for name, value in former.items()}
    expected = Codec.from_folder(folder).fingerprint
    (folder / "model.safetensors").unlink()
    torch.save(former, folder / "pytorch_model.bin")
    assert Codec.from_folder(folder).fingerprint == expected


class Anything:
    pass


def test_pickles_that_are_no_plain_tensors(folder):
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    weight = torch.ones(4, 1, 7)
    for content in (Anything(), {"a": Anything()}, [weight], {"a": 5}, {5: weight}, {"a": torch.nn.Linear}, "text"):
        torch.save(content, path)
        refused(folder, "pytorch_model.bin cannot be read: it .*Copy or download it again, or put model.safetensors")
    torch.save({"a": torch.ones(1).expand(10**6, 10**5)}, path)  # 400 GB of one number
    refused(folder, "tensors in it share their values")
    torch.save({"a": weight}, path, _use_new_zipfile_serialization=False)
    refused(folder, "File is not a zip file")
    path.write_bytes(pickle.dumps({"a": 1}))
    refused(folder, "File is not a zip file")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\0" * 10**7)
    refused(folder, "archive/data.pkl in it is packed")


def test_other_formats_than_ordinary_files(folder):
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/dev/zero")
    refused(folder, "config.json cannot be read .it is a device")
    change_back = folder / "config.json"
    change_back.unlink()
    change(folder)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("/dev/zero")
    refused(folder, "has neither model.safetensors nor pytorch_model.bin")


@pytest.mark.parametrize("what", ["config.json", "model.safetensors"])
def test_random_changes(folder, what):
    """Many of each, so it takes a second or two; what hangs is ended by the time limit of all tests."""
    dice, path = random.Random(14), folder / what
    good, most = path.read_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends = {"loaded": 0, "refused": 0}
    for _ in range(120):
        if what == "config.json":
            written = write_changed(dice, path, json.loads(good))
        else:
            written = change_header(dice, good)
            path.write_bytes(written)
        try:
            Codec.from_folder(folder)
            ends["loaded"] += 1
        except CheckpointError as error:
            ends["refused"] += 1
            assert "\n" not in str(error), written
    assert ends["refused"] > 60 and sum(ends.values()) == 120
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most < 500_000  # kB
