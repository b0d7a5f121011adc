"""Fine-tunes Orpheus TTS on a voice: recordings and their texts in, a LoRA adapter in lora_model/ and speech out.

    python orpheus_sft_unsloth.py --demo    no GPU: the demo voice learns a speaker in minutes
    python orpheus_sft_unsloth.py --demo --dataset my_recordings    no GPU: your own recordings
    python orpheus_sft_unsloth.py           GPU: Orpheus-3B learns the Elise data set
    python orpheus_sft_unsloth.py --dataset my_recordings    GPU: a folder, a file or a hub id
    python orpheus_sft_unsloth.py --dataset my_recordings --check-data    what is wrong with it
    torchrun --nproc-per-node 2 orpheus_sft_unsloth.py    several GPUs

Then `python inference.py "Hello there."` speaks with the new voice.
"""

import os
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from orpheus.common import command
from orpheus.common.command import options_from, read_config, settings_of
from orpheus.common.errors import InputError, StoppedError
from orpheus.common.help import ASK
from orpheus.common.installed import TRAINING, check_installed
from orpheus.common.options import LORA_DIR
from orpheus.common.progress import State, on_terminal
from orpheus.data.options import LONGEST_EXAMPLE, DataOptions
from orpheus.speech.examples import EXAMPLES, sample_sentences
from orpheus.training.options import COMMON, DEMO, LORA_TARGETS, RunOptions, TrainingOptions


def parse(argv=None):
    """The options out of flags, over those of --config, over those of --demo, over the defaults."""
    import tyro

    plain = tyro.conf.FlagCreatePairsOff

    @dataclass(frozen=True)
    class Arguments:
        demo: Annotated[bool, plain] = False
        """The demo voice learns the speaker that the repository carries: no GPU, no network, under 5 minutes."""
        resume: Annotated[bool, plain] = False
        """Goes on from the last saved state of the last run that did not come to its end."""
        resume_from: str | None = None
        """Goes on from the last saved state of this run in --run-dir, such as run_002."""
        config: Path | None = None
        """A YAML file with options by name, such as the config.yaml of an earlier run. Flags come first."""
        run: Annotated[RunOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=RunOptions)
        data: Annotated[DataOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=DataOptions)
        training: Annotated[TrainingOptions, tyro.conf.OmitArgPrefixes] = field(default_factory=TrainingOptions)
        check_data: Annotated[bool, plain] = False
        """Reads and checks the recordings, says what a run would do, and ends: no GPU, no model, nothing is written."""

    argv = sys.argv[1:] if argv is None else argv
    first, _ = tyro.cli(Early, args=[a for a in argv if a not in ASK], return_unknown_args=True, add_help=False)
    named = read_config(first.config) if first.config else {}
    values = (DEMO if first.demo else {}) | named
    if command.peek(argv, "epochs") or ("epochs" in named and "least_steps" not in named):
        values.pop("least_steps", None)  # as many passes as were asked for
    groups = options_from((RunOptions, DataOptions, TrainingOptions), values, f"--config {first.config}")
    defaults = Arguments(False, False, None, first.config, *groups)
    return command.parse(Arguments, __doc__, argv, "python orpheus_sft_unsloth.py", COMMON, defaults)


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

    named = {"max_seq_length": LONGEST_EXAMPLE, "load_in_4bit": options.load_in_4bit, "trust_remote_code": False}
    model, _ = FastLanguageModel.from_pretrained(source, **named)
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
    check_installed("training", *TRAINING)
    with State("loading PyTorch", shown=on_terminal() and os.environ.get("RANK", "0") == "0"):
        import_unsloth(arguments.run)  # comes before transformers and peft
        finetune = Finetune(arguments)
    with finetune:
        finetune.check()  # what can be refused is refused now; nothing that is not ours is ever written over
        finetune.read()  # the recordings: found, read, checked; no model is needed yet
        finetune.encode()  # audio becomes SNAC codes, codes become examples; what was encoded once is in the cache
        finetune.load()  # the base model with a fresh adapter, its layers taken over for packed examples
        finetune.learn()  # packed steps, with held-out loss and samples on the way
        finetune.write()  # the adapter, samples, a merged model


class Finetune:
    """One run of the recipe; every method is one of its steps, in their order."""

    def __init__(self, arguments):
        from orpheus.training.hardware import start_ranks

        self.run, self.data, self.options = arguments.run, arguments.data, arguments.training
        self.resume, self.resume_from = arguments.resume, arguments.resume_from
        self.settings = settings_of(self.run, self.data, self.options)
        self.rank, self.ranks = start_ranks()
        self.first = self.rank == 0  # the one that writes and speaks
        self.held = None  # the run's folder, on the first

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        from orpheus.training.hardware import stop_ranks

        if self.held:
            self.held.close()
        if kind in (None, StoppedError):  # all ranks come here; after an error of one the others may be waiting for it
            stop_ranks()

    def check(self):
        from orpheus.common.hub import check_push
        from orpheus.speech.model import resolve
        from orpheus.text.identify import describe
        from orpheus.training.hardware import check_fp8, check_without_gpu, choose_backend, keep_freed_memory, shared
        from orpheus.training.log import check_reporter
        from orpheus.training.runs import check_runs, check_written, open_run
        from orpheus.training.samples import check_evaluation

        check_reporter(self.options.report_to)
        self.base = resolve(self.run.model, "none", self.run.device)
        check_without_gpu(self.base, self.run, self.data)
        check_fp8(self.base.device, self.options)
        if self.base.device == "cpu" and not self.run.cpu_anyway:  # a large model's memory is too short for that
            keep_freed_memory()
        self.description = describe(self.base.checkpoint, as_like=self.run.like)
        self.data = self.data.in_language_of(self.description)
        if self.options.evaluate:
            check_evaluation(self.options, self.data.spoken)
        self.backend = choose_backend(self.run.backend, self.base.device, self.options.load_in_4bit)
        if self.first:
            resuming = (self.run.run_dir, self.resume, self.resume_from)
            check_written(self.run, self.data.code_cache, self.data.dataset, self.base.checkpoint)
            check_runs(*resuming)
            self.held = open_run(*resuming, command.say)
            if self.run.push_to_hub:
                check_push(self.run.hub_repo)  # last: it makes the repository
        self.run_folder, self.resume = shared(self.held and (self.held.folder, self.held.has_state))

    def read(self):
        from orpheus.data.recordings import read_recordings
        from orpheus.training.check_data import expected_time

        report = self.run_folder / "data_report.md" if self.first else None
        read = {"tags": self.description.taught, "model": self.base.checkpoint}
        self.recordings = read_recordings(self.data, self.first, report, **read)
        if self.first and not self.resume:
            command.say(expected_time(self.recordings, self.base, self.data, self.options))

    def encode(self):
        from orpheus.codec.snac import Codec
        from orpheus.common.hub import locate
        from orpheus.common.places import claim
        from orpheus.data.examples import encode_missing, make_examples
        from orpheus.engines.loading import check_model, load_tokenizer
        from orpheus.speech.model import MODEL_FILES, find_codec
        from orpheus.text.prompt import PromptBuilder, layout_of
        from orpheus.text.spoken import wants_normalizing
        from orpheus.training.hardware import barrier
        from orpheus.training.runs import check_run_room

        self.folder = locate(self.base.checkpoint, MODEL_FILES)
        check_model(self.folder, self.base.device, self.base.checkpoint)
        if self.first:
            self.sizes = check_run_room(self.run, self.run_folder, self.folder, self.options.lora_rank)
            claim(self.data.code_cache.expanduser(), "codes")
        self.normalizes = wants_normalizing(self.data.normalize, self.description)
        if self.normalizes:
            self.recordings = self.recordings.normalized(self.data.spoken)  # what is learnt reads as what is spoken
        with State("loading the codec and the tokenizer", self.first):
            self.codec = Codec.from_folder(find_codec(self.run.codec, self.folder), self.base.device)
            self.tokenizer = load_tokenizer(self.folder)
        layout = layout_of(self.tokenizer, self.codec.codebook_size)
        self.prompts = PromptBuilder(self.tokenizer, layout, self.description.prompt)
        for voice in self.recordings.voices:
            self.prompts.text_ids("", voice)  # refuses a name that this model can't learn
        encoding = (self.recordings, self.codec, self.prompts, self.data, self.rank, self.ranks)
        encode_missing(*encoding)
        barrier()
        self.prepared = make_examples(*encoding, progress=False)  # all of it is in the cache now
        if self.first:
            command.tell(self.prepared.report.table())

    def load(self):
        from orpheus.training.hardware import Memory, compiles
        from orpheus.training.llama import LoraLlama
        from orpheus.training.lora import load_with_peft

        checkpoint, device = self.base.checkpoint, self.base.device
        with State("loading the model", self.first):
            if self.backend == "unsloth":
                self.model = load_with_unsloth(checkpoint, self.options)
            else:
                self.model = load_with_peft(self.folder, device, self.options)
        compiled = compiles(device, self.options)
        self.llama = LoraLlama(self.model, compiled, self.options.gradient_checkpointing, self.options.fp8)
        self.memory = Memory()

    def learn(self):
        from orpheus.common.places import claim
        from orpheus.speech.model import DEMO_VOICE
        from orpheus.training.outcome import Outcome, meaning
        from orpheus.training.states import stop_on_signals

        trainer = self.trainer = self._trainer()
        if self.resume:
            trainer.resume()
        if self.first:
            demo = self.base.checkpoint == str(DEMO_VOICE)
            command.tell("\n".join((self.memory.before(), trainer.plan.reason, meaning(demo))))
            if not self.resume:
                claim(self.run.samples, "samples")
                self.samples.speak(self.run.samples / "before")
        with stop_on_signals(trainer):
            trainer.run()
        self.outcome = Outcome(trainer, self.best)  # the adapter is now what will be written, and was measured so
        self.log.close()

    def _trainer(self):
        """The Trainer, with what it calls on its way: `samples`, `spoken` and `best`."""
        from orpheus.text.description import taught, tuned
        from orpheus.training.log import TrainingLog
        from orpheus.training.samples import Samples, SpokenEvaluation
        from orpheus.training.states import Best, identity_of
        from orpheus.training.trainer import Trainer

        options, folder, prepared, first = self.options, self.run_folder, self.prepared, self.first
        reporter = options.report_to if first else "none"
        self.log = TrainingLog(folder, reporter, self.settings, shown=first, recorded=first)
        tags, language = prepared.report.taught_tags(), self.data.spoken
        self.taught = taught(self.description, prepared.voices, tags, self.normalizes, language)
        speaks = tuned(self.description, vars(self.taught))
        sentences = sample_sentences(language, (*prepared.held_out, *prepared.train), EXAMPLES, say=first)
        self.samples = Samples(self.llama, self.prompts, self.codec, speaks, sentences)
        self.spoken = None
        if options.evaluate:
            self.spoken = SpokenEvaluation(self.samples.tts, prepared.held_out, options, folder, self.log, self.rank)
        self.best = Best(self.llama.adapter)
        trainer = Trainer(
            llama=self.llama,
            train=prepared.train,
            held_out=prepared.held_out,
            layout=self.prompts.layout,
            options=options,
            folder=folder,
            log=self.log,
            on_best=self.best.save if options.keep_best else None,
            on_sample=lambda step: self.samples.speak(folder / "samples" / f"step_{step}") if first else None,
            on_evaluate=self.spoken.measure if self.spoken else None,
            back_to_best=self.best.load if options.keep_best else None,
            best=self.best,
            of={"base": identity_of(self.folder), "codec": self.codec.fingerprint},
        )
        return trainer

    def write(self):
        from orpheus.training.hardware import barrier

        if self.first:
            self._write()
        barrier()
        self.outcome.check(self.run.out)  # loud where the adapter is worse than none

    def _write(self):
        from orpheus.common.files import until_written
        from orpheus.common.hub import push
        from orpheus.export.adapter import write_adapter
        from orpheus.export.merged import merge
        from orpheus.speech.model import DEMO_VOICE
        from orpheus.training.runs import prune_runs

        run, spoken, state, voices = self.run, self.spoken, self.trainer.state, self.prepared.voices
        facts = self.outcome.facts(self.memory) | (spoken.facts() if spoken else {})
        base = DEMO_VOICE.name if self.base.checkpoint == str(DEMO_VOICE) else self.base.checkpoint
        of_run = (self.settings, facts, self.prepared.report, self.log.path)

        def sure(write, place, size=0):
            return until_written(write, command.say, self.trainer.where_saved(), place, size)

        adapter = (run.out, self.model, self.tokenizer, base, voices, *of_run, self.taught, self.folder)
        sure(lambda: write_adapter(*adapter), run.out, self.sizes["adapter"])
        command.tell(self.memory.after(state.seconds))
        command.tell(f"The adapter is in {run.out}/: {self.outcome.sentence()}")
        if spoken:
            command.tell(sure(lambda: spoken.report(run.out / "evaluation"), run.out))
            command.tell(f"{run.out / 'evaluation' / 'report.html'} lets you hear them side by side")
        for path in self.samples.speak(run.samples):
            command.tell(f"{path}   (before: {run.samples / 'before' / Path(path).name})")
        named = "" if run.out == Path(LORA_DIR) else f" --lora {shlex.quote(str(run.out))}"
        command.tell(f'python inference.py "Hello there."{named}   speaks with it')
        if run.merge:
            sure(lambda: merge(run.merge, self.folder, run.out, like=run.like), run.merge, self.sizes["merged"])
            command.tell(f"The merged model is in {run.merge}/")
        sure(lambda: self.held.done(adapter=str(run.out), steps=state.step), self.run_folder)
        if run.push_to_hub and not (self.outcome.worse and not self.options.keep_worse):
            command.tell(f"Uploaded: {push(run.hub_repo, run.out)}")
        if run.keep_runs and not self.outcome.worse:
            prune_runs(run.run_dir, run.keep_runs, command.say)


def main(argv=None):
    """Runs the recipe; returns the exit status."""

    def work(argv):
        arguments = parse(argv)
        if not arguments.check_data:
            return train(arguments)
        from orpheus.training.check_data import check_data

        return check_data(arguments.run, arguments.data, arguments.training)

    return command.run(work, argv)


if __name__ == "__main__":
    sys.exit(main())
