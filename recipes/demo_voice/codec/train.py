"""Trains the small SNAC codec for a given time, on one GPU (or, to try it out, on a CPU).

Two stages. `joint` trains everything; the discriminators join late. `decoder` keeps the encoder and the
quantiser as they were saved, so that codes made with them stay valid, and goes on with the decoder alone.
"""

import argparse
import json
import math
import os
import time

import torch

from orpheus.common.audio import write_wav
from orpheus.common.frame import SAMPLE_RATE
from recipes.demo_voice.codec.crops import Crops
from recipes.demo_voice.codec.model import encode, load_codec, save_codec
from recipes.demo_voice.codec.step import LISTENER_RATE, LOGGED, CodecStep


def parse_options(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", required=True, help="folder of recipes.demo_voice.corpus.build")
    add("--out", required=True, help="config.json and model.safetensors of the averaged codec go here")
    add("--state", required=True, help="folder for what a later call goes on from")
    add("--stage", choices=("joint", "decoder"), default="joint")
    add("--resume", action="store_true", help="go on from what the same stage left in --state")
    add("--progress-from", type=float, default=0.0, help="where the learning rates begin, 0 to 1; for --resume")
    add("--begin-with", help="joint: folder of a codec to go on from where there is no state; its codes will drift")
    add("--voices", nargs="*", default=(), help="take the clips of these alone")
    add("--minutes", type=float, default=9.0, help="of training, start-up included")
    add("--max-steps", type=int, default=0, help="stop earlier, after this many steps")
    add("--encoder-dim", type=int, default=24, help="half of SNAC's: the encoder only has to know a few voices")
    add("--decoder-dim", type=int, default=512, help="half of SNAC's")
    add("--codebook-size", type=int, default=1024, help="10 bits a code, 820 bit/s")
    add("--batch", type=int, default=64)
    add("--adversarial-batch", type=int, default=32, help="rows of the batch that the discriminators see")
    add("--adversarial-frames", type=int, default=5, help="frames of a crop that they hear, 0 for all")
    add("--crop-frames", type=int, default=8, help="frames of 2,048 samples in a crop")
    add("--rate", type=float, default=5e-4, help="highest learning rate of the codec")
    add("--last-rate", type=float, default=6e-5, help="learning rate at the end")
    add("--discriminator-rate", type=float, default=3e-4)
    add("--warm-up", type=int, default=200)
    add("--adversarial-from", type=float, default=0.55, help="share of the time before the discriminators join")
    add("--quantise-from", type=int, default=400, help="steps before quantisation begins, with codes set by k-means")
    add("--quantise-ramp", type=int, default=200)
    add("--mel-weight", type=float, default=15.0)
    add("--commitment-weight", type=float, default=0.5)
    add("--phoneme-weights", type=float, nargs=3, default=(1.0, 1.5, 2.5), help="of the heads after each level")
    add("--heard-weight", type=float, default=0.5, help="cross-entropy of what the listener hears in the output")
    add("--heard-feature-weight", type=float, default=2.0)
    add("--adversarial-weight", type=float, default=1.0)
    add("--feature-weight", type=float, default=4.0)
    add("--average", type=float, default=0.999, help="decay of the averaged weights, the ones that are saved")
    add("--discriminator-width", type=int, default=16)
    add("--log-seconds", type=float, default=15)
    add("--save-seconds", type=float, default=150)
    add("--samples", type=int, default=24, help="held-out clips to reconstruct at the end")
    add("--seed", type=int, default=0)
    return parser.parse_args(arguments)


class CodecTrainer:
    def __init__(self, options):
        import snac

        from recipes.demo_voice.codec import kernels

        self.began = time.time()
        self.options = options
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.cuda = self.device.type == "cuda"
        torch.manual_seed(options.seed)
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        self.operations = "triton" if self.cuda and kernels.agrees(self.device) else "plain"
        kernels.use(self.operations)
        self.decoder_only = options.stage == "decoder"
        known = options.out if self.decoder_only else options.begin_with
        if known:
            codec, self.config = load_codec(known, self.device)
        else:
            self.config = dict(
                sampling_rate=SAMPLE_RATE,
                encoder_dim=options.encoder_dim,
                encoder_rates=[2, 4, 8, 8],
                decoder_dim=options.decoder_dim,
                decoder_rates=[8, 8, 4, 2],
                attn_window_size=None,
                codebook_size=options.codebook_size,
                codebook_dim=8,
                vq_strides=[4, 2, 1],
                noise=True,
                depthwise=True,
            )
            codec = snac.SNAC(**self.config).to(self.device)
        average = snac.SNAC(**self.config).to(self.device).requires_grad_(False)
        average.load_state_dict(codec.state_dict())
        frames = options.crop_frames, options.adversarial_frames
        self.crops = Crops(options.data, self.device, options.batch, *frames, options.voices)
        self.step = CodecStep(codec, average, self.crops, options, self.decoder_only)
        self.done = 0
        self.quantised_since = -options.quantise_ramp if known else None
        self.adversarial_since = None
        if self.decoder_only or options.resume:
            self.load_state()

    def set_schedule(self, progress):
        """Learning rates and shares of the losses; `progress` goes from 0 to 1."""
        options, step = self.options, self.step
        warm = min(1.0, (self.done + 1) / options.warm_up)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        rates = (
            (step.optimiser, options.rate, options.last_rate),
            (step.listener_optimiser, LISTENER_RATE, LISTENER_RATE / 5),
            (step.discriminator_optimiser, options.discriminator_rate, options.discriminator_rate / 5),
        )
        for optimiser, highest, lowest in rates:
            rate = (lowest + (highest - lowest) * cosine) * warm
            for group in optimiser.param_groups:
                if torch.is_tensor(group["lr"]):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate
        step.average_step.fill_(1 - min(options.average, (1 + self.done) / (10 + self.done)))
        if self.quantised_since is not None and not self.decoder_only:
            step.quantised_share.fill_(min(1.0, (self.done - self.quantised_since) / options.quantise_ramp))
        if self.adversarial_since is not None:
            step.adversarial_share.fill_(min(1.0, (self.done - self.adversarial_since) / 500))

    @torch.no_grad()
    def begin_quantisation(self):
        """The auto-encoder has trained for a while without it: the codes start in the middle of its vectors."""
        batches = []
        for _ in range(16 if self.cuda else 4):
            self.crops.choose()
            with self.step.half():
                batches.append(encode(self.step.codec, self.crops.take()[0], self.cuda))
        self.step.codebooks.fit(torch.cat(batches))
        self.step.average.load_state_dict(self.step.codec.state_dict())
        self.quantised_since = self.done
        print(f"step {self.done}: codes set by k-means, quantisation begins", flush=True)

    def train(self):
        options = self.options
        count = sum(parameter.numel() for parameter in self.step.codec.parameters())
        hours = len(self.crops.audio) / SAMPLE_RATE / 3600
        print(
            f"{self.device}, {self.operations} operations, codec {count / 1e6:.2f} M parameters, {hours:.2f} h",
            flush=True,
        )
        adversarial, run, revived = False, None, torch.zeros(3, dtype=torch.long)
        last_log, last_save, last_done = time.time(), time.time(), self.done
        while True:
            minutes = (time.time() - self.began) / 60
            progress = options.progress_from + (1 - options.progress_from) * minutes / options.minutes
            if options.max_steps:
                progress = max(progress, self.done / options.max_steps)
            if progress >= 1:
                break
            if self.quantised_since is None and (self.done >= options.quantise_from or progress > 0.15):
                self.begin_quantisation()
            if not adversarial and progress >= options.adversarial_from and self.quantised_since is not None:
                adversarial, run = True, None
                self.adversarial_since = self.done if self.adversarial_since is None else self.adversarial_since
            self.set_schedule(progress)
            run = run or self.step.recorded(adversarial)
            self.crops.choose()
            run()
            self.done += 1
            if self.may_revive(progress):
                revived = revived + self.step.codebooks.revive().cpu()
            if self.done % 20 == 0 and self.cuda:
                torch.cuda.synchronize()  # the clock must see the GPU's time
            now = time.time()
            if now - last_log >= options.log_seconds:
                self.log(minutes, (self.done - last_done) / (now - last_log), revived)
                last_log, last_done, revived = now, self.done, revived * 0
            if now - last_save >= options.save_seconds:
                self.save()
                last_save = time.time()
        self.save()
        self.evaluate()

    def may_revive(self, progress):
        """Every 25 steps once the codes have settled, and not near the end."""
        if self.decoder_only or self.quantised_since is None or self.done % 25 or progress >= 0.7:
            return False
        return self.done > self.quantised_since + 50

    def log(self, minutes, pace, revived):
        values = dict(zip(LOGGED, self.step.logged.tolist()))
        if not all(map(math.isfinite, values.values())):
            raise SystemExit(f"step {self.done}: a loss is not finite: {values}")
        text = " ".join(f"{name} {value:.3f}" for name, value in values.items())
        usage, rate = self.step.codebooks.usage(), float(self.step.optimiser.param_groups[0]["lr"])
        print(
            f"step {self.done} {pace:.1f}/s {minutes:.2f} min {text} | perplexity {usage} "
            f"revived {revived.tolist()} rate {rate:.1e}",
            flush=True,
        )

    def save(self):
        """The averaged codec to --out, everything to --state."""
        state = self.step.average.state_dict()
        if self.decoder_only:
            frozen, _ = load_codec(self.options.out)
            state.update(
                {name: value for name, value in frozen.state_dict().items() if not name.startswith("decoder.")}
            )
        save_codec(state, self.config, self.options.out)
        kept = {name: module.state_dict() for name, module in self.step.modules().items()}
        kept["codebooks"] = self.step.codebooks.tensors()
        kept["progress"] = {name: getattr(self, name) for name in ("done", "quantised_since", "adversarial_since")}
        os.makedirs(self.options.state, exist_ok=True)
        path = f"{self.options.state}/{self.options.stage}.pt"
        torch.save(kept, path + ".tmp")
        os.replace(path + ".tmp", path)

    def load_state(self):
        """Goes on with a stage's own state, or the decoder with the listener and the discriminators of the joint stage."""
        stage = self.options.stage if self.options.resume else "joint"
        path = f"{self.options.state}/{stage}.pt"
        if not self.options.resume and not os.path.exists(path):
            print("no state: listener and discriminators begin anew", flush=True)
            return
        kept = torch.load(path, map_location=self.device, weights_only=True)
        modules = self.step.modules()
        if self.options.resume:
            for ours, theirs in zip(self.step.codebooks.tensors(), kept["codebooks"]):
                ours.copy_(theirs)
            for name, value in kept["progress"].items():
                setattr(self, name, value)
        else:
            for name in ("codec", "average", "heads", "optimiser"):
                modules.pop(name)
        for name, module in modules.items():
            rates = [group["lr"] for group in getattr(module, "param_groups", [])]
            module.load_state_dict(kept[name])
            for group, rate in zip(getattr(module, "param_groups", []), rates):
                group["lr"] = rate  # the tensor that a recorded step reads
        print(f"went on from {path}: {', '.join(modules)}", flush=True)

    @torch.no_grad()
    def evaluate(self):
        """Reconstructs held-out clips with the saved codec, through the package's own forward."""
        from recipes.demo_voice.codec import kernels

        kernels.use("package")
        torch.backends.cudnn.allow_tf32 = False
        torch.manual_seed(0)
        codec, _ = load_codec(self.options.out, self.device)
        folder = f"{self.options.out}/reconstructions"
        os.makedirs(folder, exist_ok=True)
        by_voice = {}
        for clip in self.crops.held_out:
            by_voice.setdefault(clip["voice"], []).append(clip)
        chosen = [clip for voice in ("nora", "theo") for clip in by_voice.get(voice, [])[: self.options.samples // 2]]
        losses, entries = [], []
        for number, clip in enumerate(chosen):
            true = self.crops.audio[clip["start"] : clip["start"] + clip["samples"]].float() / 32767
            made, _ = codec(true[None, None])
            losses.append(float(self.step.mel(made[0], true[None])[1]))
            write_wav(f"{folder}/{number:02d}.wav", made.detach().float().cpu().numpy().reshape(-1))
            entries.append(dict(audio=f"{number:02d}.wav", text=clip["text"], voice=clip["voice"]))
        with open(f"{folder}/clips.jsonl", "w") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in entries)
        if losses:
            print(f"held out: {len(losses)} clips, mel1024 {sum(losses) / len(losses):.4f}", flush=True)


def main():
    trainer = CodecTrainer(parse_options())
    trainer.train()
    print(f"done: {trainer.done} steps in {(time.time() - trainer.began) / 60:.2f} min", flush=True)


if __name__ == "__main__":
    main()
