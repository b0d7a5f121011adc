"""Fine-tunes Orpheus TTS on a voice: recordings and their texts in, a LoRA adapter in lora_model/ and speech out.

    python orpheus_sft_unsloth.py                                    Orpheus-3B on Elise (GPU)
    python orpheus_sft_unsloth.py --dataset my_recordings            your own: a folder, a file or a hub id
    python orpheus_sft_unsloth.py --demo                             the demo voice learns a speaker, on a laptop in minutes
    torchrun --nproc-per-node 2 orpheus_sft_unsloth.py               several GPUs

Then `python inference.py "Hello there."` speaks with the new voice.
"""

import os
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

from orpheus.common import command
from orpheus.common.command import read_config, settings_of, with_values
from orpheus.common.errors import InputError
from orpheus.common.options import LORA_DIR, ORPHEUS_3B, OUTPUT_DIR
from orpheus.data.options import DataOptions
from orpheus.speech.options import EXAMPLES
from orpheus.training.options import DEMO, LORA_TARGETS, RUN_DIR, TrainingOptions

MAX_POSITIONS = 8192  # what Unsloth prepares for; rows are at most --max-tokens long


@dataclass(frozen=True)
class RunOptions:
    """Which model, and where things go."""

    model: str = ORPHEUS_3B
    """Base model: a hub id, a folder, or demo. The -ft model knows the emotion tags."""
    codec: str | None = None
    """Folder or hub id of another SNAC than the model's own."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where to train."""
    backend: Literal["auto", "unsloth", "transformers"] = "auto"
    """What loads the base model: auto is Unsloth on CUDA, transformers and peft on a CPU."""
    out: Path = Path(LORA_DIR)
    """Folder of the adapter."""
    run_dir: Path = Path(RUN_DIR)
    """Folder of states, samples and logs."""
    samples: Path = Path(OUTPUT_DIR)
    """Folder of the sample sentences; `before/` in it has them as the base model speaks them."""
    merge: Path | None = None
    """Also writes base and adapter as one 16-bit model into this folder."""
    license: str = "other"
    """Licence of the adapter, for its card."""
    push_to_hub: bool = False
    """Uploads the adapter's folder to --hub-repo. Off unless asked for."""
    hub_repo: str | None = None
    """NAME/REPOSITORY on the hub, checked before training begins."""


def parse(argv=None):
    """The options out of flags, over those of --config, over those of --demo, over the defaults."""
    import tyro

    plain = tyro.conf.FlagCreatePairsOff

    @dataclass(frozen=True)
    class Arguments:
        demo: Annotated[bool, plain] = False
        """The demo voice learns the speaker that the repository carries: no GPU, no network, under 5 minutes."""
        resume: Annotated[bool, plain] = False
        """Goes on from the last saved state of the same run."""
        config: Path | None = None
        """A YAML file with options by name, such as the config.yaml of an earlier run. Flags come first."""
        run: Annotated[RunOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=RunOptions)
        data: Annotated[DataOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=DataOptions)
        training: Annotated[TrainingOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=TrainingOptions)

    argv = sys.argv[1:] if argv is None else argv
    first, _ = tyro.cli(
        Early, args=[a for a in argv if a not in ("-h", "--help")], return_unknown_args=True, add_help=False
    )
    values = (DEMO if first.demo else {}) | (read_config(first.config) if first.config else {})
    groups = [with_values(group(), values) for group in (RunOptions, DataOptions, TrainingOptions)]
    known = {f.name for group in groups for f in fields(group)}
    if unknown := sorted(set(values) - known):
        raise InputError(
            f"--config {first.config}: unknown option {unknown[0]!r}; known are {', '.join(sorted(known))}"
        )
    return tyro.cli(Arguments, description=__doc__, args=argv, default=Arguments(False, False, first.config, *groups))


@dataclass(frozen=True)
class Early:
    """What decides the defaults of the rest."""

    demo: bool = False
    config: Path | None = None


def import_unsloth(run):
    """Imports Unsloth where it will load the model: it patches transformers and peft, and needs CUDA."""
    import torch

    if torch.cuda.is_available() and run.device != "cpu" and run.backend != "transformers":
        os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
        try:
            import unsloth  # noqa: F401
        except ImportError as error:
            raise InputError(
                f"unsloth cannot be imported ({error}): pip install -r requirements.txt, or --backend transformers"
            ) from error


def load_with_unsloth(source, options):
    """The base model and a fresh adapter through Unsloth, which chooses the device of this rank."""
    from unsloth import FastLanguageModel

    model, _ = FastLanguageModel.from_pretrained(
        model_name=source, max_seq_length=MAX_POSITIONS, dtype=None, load_in_4bit=options.load_in_4bit
    )
    return FastLanguageModel.get_peft_model(
        model,
        r=options.lora_rank,
        lora_alpha=options.lora_alpha,
        lora_dropout=0,
        bias="none",
        target_modules=list(LORA_TARGETS),
        use_gradient_checkpointing=False,  # the layers are computed, and checkpointed, by orpheus.training.llama
        random_state=options.seed,
    )


def train(arguments):
    """The whole recipe, top to bottom."""
    import_unsloth(arguments.run)  # comes before transformers and peft
    from orpheus.codec.snac import Codec
    from orpheus.common.hub import check_push, locate, push
    from orpheus.data.examples import encode_missing, make_examples
    from orpheus.data.recordings import read_recordings
    from orpheus.engines.loading import load_tokenizer
    from orpheus.export.adapter import write_adapter
    from orpheus.export.merged import merge
    from orpheus.speech.model import DEMO_VOICE, MODEL_FILES, find_codec, resolve
    from orpheus.speech.options import PIECE_SECONDS
    from orpheus.text.prompt import PromptBuilder, layout_of
    from orpheus.training.hardware import Memory, barrier, compiles, start_ranks
    from orpheus.training.llama import LoraLlama
    from orpheus.training.log import TrainingLog, check_reporter
    from orpheus.training.lora import load_with_peft
    from orpheus.training.samples import Samples, SpokenEvaluation, check_evaluation
    from orpheus.training.states import Best, restart_folder
    from orpheus.training.trainer import Trainer, stop_on_ctrl_c

    run, data, options = arguments.run, arguments.data, arguments.training

    # 1. What can be refused is refused now.
    check_reporter(options.report_to)
    if options.evaluate:
        check_evaluation(options)
    rank, ranks = start_ranks()
    if run.push_to_hub and rank == 0:
        check_push(run.hub_repo)
    resolved = resolve(run.model, "none", run.device)
    base, device = resolved.checkpoint, resolved.device
    backend = ("unsloth" if device == "cuda" else "transformers") if run.backend == "auto" else run.backend

    # 2. The recordings: found, read, checked; no model is needed yet.
    rows = read_recordings(data, progress=rank == 0, report_path=run.run_dir / "data_report.md" if rank == 0 else None)

    # 3. Audio becomes SNAC codes, codes become rows. What was encoded once is in the cache.
    folder = locate(base, MODEL_FILES)
    codec = Codec.from_folder(find_codec(run.codec, folder), device)
    tokenizer = load_tokenizer(folder)
    prompts = PromptBuilder(tokenizer, layout_of(tokenizer, codec.codebook_size))
    encode_missing(rows, codec, prompts, data, rank, ranks)
    barrier()
    prepared = make_examples(rows, codec, prompts, data, rank, ranks, progress=rank == 0)
    if rank == 0:
        print(prepared.report.table())

    # 4. The base model with a fresh adapter, its layers taken over for packed rows.
    model = load_with_unsloth(base, options) if backend == "unsloth" else load_with_peft(folder, device, options)
    compiled = compiles(device, options)
    llama = LoraLlama(model, compiled, options.gradient_checkpointing)
    memory = Memory()

    # 5. Training, with held-out loss and samples on the way.
    if rank == 0 and not arguments.resume:
        restart_folder(run.run_dir)
    settings = settings_of(run, data, options)
    first = rank == 0
    log = TrainingLog(run.run_dir, options.report_to if first else "none", settings, shown=first, recorded=first)
    samples = Samples(
        llama, prompts, codec, prepared.voices, EXAMPLES[:3], getattr(llama.config, "piece_seconds", PIECE_SECONDS)
    )
    spoken = None
    if options.evaluate:
        spoken = SpokenEvaluation(samples.tts, prepared.held_out, options, run.run_dir, log, rank)
    best = Best(run.run_dir / "best", llama.adapter, rank)
    trainer = Trainer(
        *(llama, prepared.train, prepared.held_out, prompts.layout, options, run.run_dir, log, compiled),
        on_best=best.save if options.keep_best else None,
        on_sample=lambda step: samples.speak(run.run_dir / "samples" / f"step_{step}") if rank == 0 else None,
        on_evaluate=spoken.measure if spoken else None,
    )
    log.total = len(trainer.steps)
    if arguments.resume:
        trainer.resume()
    if rank == 0:
        print(memory.before(), flush=True)
        if not arguments.resume:
            samples.speak(run.samples / "before")
    with stop_on_ctrl_c(trainer):
        state = trainer.run()

    # 6. What comes out.
    log.close()
    if options.keep_best and prepared.held_out and options.eval_steps:
        best.load()
    llama.adapter.multiply(options.adapter_strength)
    if rank == 0:
        facts = trainer.facts(memory) | (spoken.facts() if spoken else {})
        name = DEMO_VOICE.name if base == str(DEMO_VOICE) else base
        write_adapter(run.out, model, tokenizer, name, prepared.voices, settings, facts, prepared.report, log.path)
        print(memory.after(state.seconds))
        print(f"The adapter is in {run.out}/: held-out loss {state.first} -> {state.last}")
        if spoken:
            print(spoken.report(run.out / "evaluation"))
            print(f"{run.out / 'evaluation' / 'report.html'} lets you hear them side by side")
        for path in samples.speak(run.samples):
            print(f"{path}   (before: {run.samples / 'before' / Path(path).name})")
        if run.merge:
            merge(run.merge, folder, run.out, prepared.voices)
            print(f"The merged model is in {run.merge}/")
        if run.push_to_hub:
            print(f"Uploaded: {push(run.hub_repo, run.out)}")
    barrier()


def main(argv=None):
    """Runs the recipe; returns the exit status."""
    return command.run(lambda argv: train(parse(argv)), argv)


if __name__ == "__main__":
    sys.exit(main())
