"""Trains the demo voice's language model on the codes of the corpus, for a given time.

Every clip is encoded several times, at different offsets within a frame. The best weights by held-out loss are kept.
"""

import argparse
import math
import random
import time

import torch

from recipes.demo_voice.codec.model import load_codec
from recipes.demo_voice.corpus.read import load_corpus
from recipes.demo_voice.language.data import Examples, encode_clips
from recipes.demo_voice.language.model import VOICES, load_model, new_model, save_model
from recipes.demo_voice.language.step import LanguageStep, describe
from recipes.demo_voice.language.tokenizer import write_tokenizer

WIDTH_STEP = 64
"""Widths of batches are multiples of this."""


def parse_options(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", required=True, help="folder of recipes.demo_voice.corpus.build")
    add("--codec", required=True, help="folder of recipes.demo_voice.codec.train")
    add("--out", required=True, help="a folder for LlamaForCausalLM.from_pretrained")
    add("--begin-with", help="folder of a model to go on from; sizes are its own")
    add("--minutes", type=float, default=6.6, help="start-up and encoding included")
    add("--max-steps", type=int, default=0)
    add("--hidden", type=int, default=384)
    add("--layers", type=int, default=6, help="few and wide: on a CPU a step's time goes with the layers")
    add("--mlp", type=int, default=1024)
    add("--heads", type=int, default=6)
    add("--rate", type=float, default=1.2e-3)
    add("--warm-up", type=int, default=150)
    add("--decay", type=float, default=0.1, help="weight decay of the matrices")
    add("--dropout", type=float, default=0.08)
    add("--tokens", type=int, default=24_576, help="in a batch, padding included")
    add(
        "--code-noise",
        type=float,
        default=0.08,
        help="share of input codes replaced by random ones of their position in the frame",
    )
    add("--variants", type=int, default=4, help="encodings of each clip")
    add("--longest", type=int, default=150, help="frames of 85 ms; longer clips are left out")
    add("--text-weight", type=float, default=0.05)
    add("--sound-weight", type=float, default=0.15)
    add("--normaliser-weight", type=float, default=5e-3)
    add("--encode-frames", type=int, default=6000, help="frames in a batch of the codec")
    add("--log-seconds", type=float, default=15)
    add("--validate-seconds", type=float, default=45)
    add("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def make_examples(options, device):
    """(examples for training, held-out ones, codes per level) of the corpus in the codec's codes."""
    from transformers import AutoTokenizer

    from orpheus.text.prompt import PromptBuilder, layout_of
    from recipes.demo_voice.codec import kernels

    codec, config = load_codec(options.codec, device)
    write_tokenizer(options.out, config["codebook_size"])
    tokenizer = AutoTokenizer.from_pretrained(options.out, trust_remote_code=False)
    builder = PromptBuilder(tokenizer, layout_of(tokenizer, config["codebook_size"]))
    audio, track, clips = load_corpus(options.data, device)
    clips = [clip for clip in clips if clip["voice"] in VOICES]
    if device.type == "cuda":
        kernels.use("triton")
    encoded = encode_clips(codec, audio, track, clips, options.variants, options.longest, options.encode_frames)
    kernels.use("package")
    parts = {True: [], False: []}
    for item in encoded:
        parts[clips[item.clip]["held_out"]].append(item)
    training, held_out = (Examples(parts[kind], clips, builder, device) for kind in (False, True))
    print(f"{len(training)} examples, {len(held_out)} held out, {len(training.ids) / 1e6:.2f} M tokens", flush=True)
    return training, held_out, config["codebook_size"]


class LanguageTrainer:
    def __init__(self, options):
        self.began = time.time()
        self.options = options
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(options.seed)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        self.rng = random.Random(options.seed)
        self.examples, self.held_out, codebook_size = make_examples(options, self.device)
        print(f"encoded after {time.time() - self.began:.1f} s", flush=True)
        sizes = options.hidden, options.layers, options.heads, options.mlp
        model = load_model(options.begin_with) if options.begin_with else new_model(codebook_size, *sizes)
        self.model = model.to(self.device)
        self.step = LanguageStep(self.model, self.examples, options)
        self.best = math.inf

    def set_rate(self, done, progress):
        options = self.options
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        rate = options.rate * min(1.0, (done + 1) / options.warm_up) * (0.01 + 0.99 * cosine)
        self.step.set_rate(rate)
        return rate

    def train(self):
        options = self.options
        training = time.time()
        budget = max(1.0, options.minutes * 60 - (training - self.began))  # encoding may have taken it all
        count = sum(parameter.numel() for parameter in self.model.parameters())
        print(f"{self.device}, model {count / 1e6:.2f} M parameters, {budget:.0f} s of training", flush=True)
        done, tokens, epochs, queue = 0, 0, 0, []
        last_log = last_validation = training
        while True:
            progress = (time.time() - training) / budget
            if options.max_steps:
                progress = max(progress, done / options.max_steps)
            if progress >= 1:
                break
            if not queue:
                queue = self.examples.batches(options.tokens, WIDTH_STEP, self.rng)
                epochs += 1
            width, chosen = queue.pop()
            rate = self.set_rate(done, progress)
            self.step.run(width, chosen)
            done, tokens = done + 1, tokens + width * len(chosen)
            if done % 8 == 0 and self.device.type == "cuda":
                torch.cuda.synchronize()  # the clock must see the GPU's time
            now = time.time()
            if now - last_log >= options.log_seconds:
                pace, seconds = tokens / (now - last_log) / 1e3, now - self.began
                sums = describe(self.step.take_sums())
                print(
                    f"step {done} epoch {epochs} {pace:.0f} k tokens/s {seconds:.0f} s rate {rate:.1e} {sums}",
                    flush=True,
                )
                last_log, tokens = now, 0
            if now - last_validation >= options.validate_seconds:
                self.validate()
                last_validation = time.time()
        self.validate()
        print(f"done: {done} steps, {epochs} epochs in {(time.time() - self.began) / 60:.2f} min", flush=True)

    def validate(self):
        """Loss on the held-out examples; the weights are saved where it is the lowest so far."""
        total = torch.zeros_like(self.step.sums)
        with torch.no_grad():
            for width, examples in self.held_out.by_width(WIDTH_STEP).items():
                size = max(1, self.options.tokens // width)
                for begin in range(0, len(examples), size):
                    chosen = torch.tensor(examples[begin : begin + size], device=self.device)
                    total += self.step.losses(self.held_out.gather(chosen, width), train=False)[1]
        sums = total.tolist()
        value = sums[0] / max(sums[1], 1)
        better = value < self.best
        print(f"  held out {describe(sums)}{' kept' if better else ''}", flush=True)
        if better:
            self.best = value
            save_model(self.model, self.options.out)


def main():
    LanguageTrainer(parse_options()).train()


if __name__ == "__main__":
    main()
