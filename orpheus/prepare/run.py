"""A run from its start to its end: what can be refused is refused first, what is there already is not done again.

OUT/data_report.md          what was found and what was left out, and why
OUT/shards/*.parquet        the codes; they appear at the end, all at once, so that half a data set is never learnt from
OUT/.orpheus/               plan.json, what was measured, and the shards of a run that is not over
"""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

from orpheus.common.command import say
from orpheus.common.errors import InputError
from orpheus.common.files import atomic_file, lock
from orpheus.common.hub import locate
from orpheus.common.options import ORPHEUS_3B
from orpheus.common.places import OURS, Place, check_places, claim, real
from orpheus.common.progress import progress_bar
from orpheus.data.examples import planned
from orpheus.data.model_tokens import TOKENIZER_FILES, load_prompts
from orpheus.data.recordings import read_recordings, stop_if_unfit
from orpheus.prepare.checked import Checking, parts_of
from orpheus.prepare.shards import Encoding, read_plan, shards_of
from orpheus.speech.model import DEMO_VOICE, find_codec, resolve
from orpheus.text.identify import describe
from orpheus.text.spoken import wants_normalizing

_FILES = (*TOKENIZER_FILES, "codec/*")
# Of DataOptions: what doesn't change the rows.
_ASIDE = ("code_cache", "held_out", "keep_repeated_frames", "max_rejected")
_NAMED = 5  # reasons of left out recordings that are shown


class Preparation:
    """What `python -m orpheus.prepare` does. options: PrepareOptions"""

    def __init__(self, model, codec, like, device, data, options):
        # Workers may stand in another folder: no path is relative to this one.
        self.options, self.out = options, real(options.out.expanduser())
        if os.path.exists(os.path.expanduser(data.dataset)):
            data = replace(data, dataset=os.path.abspath(os.path.expanduser(data.dataset)))
        cluster = None
        if options.ray:
            from orpheus.prepare.on_ray import Cluster

            cluster = Cluster(options.workers, device)
            device = "cpu"  # of this process, which makes no codes
            if model == "auto":
                cluster.start()
                model = ORPHEUS_3B if cluster.device == "cuda" else "demo"
        base = resolve(model, "none", device)
        self.checkpoint = base.checkpoint
        inputs = [("--dataset", data.dataset), ("--model", self.checkpoint), ("--codec", codec)]
        check_places([Place("--out", self.out, "prepared")], inputs)
        self.description = describe(self.checkpoint, as_like=like)
        self.data = data.in_language_of(self.description)
        self.normalizes = wants_normalizing(data.normalize, self.description)
        self.codec_folder = find_codec(codec, locate(self.checkpoint, _FILES)).resolve()
        self.encoding = Encoding(self.out / OURS / "shards", self.codec_folder, base.device, self.data)
        self.codec, self.codebook_size = self.encoding.codec.fingerprint, self.encoding.codec.codebook_size
        self.device = base.device
        say(f"codes are made with the codec of {self.model_name}, for models that speak with it; --model names another")
        if cluster:
            cluster.start()
            self.device = cluster.device
            self.encoding = Encoding(self.encoding.folder, self.codec_folder, self.device, self.data)
        self.cluster = cluster

    # --- what belongs to the run ---

    @property
    def model_name(self):
        return DEMO_VOICE.name if self.checkpoint == str(DEMO_VOICE) else self.checkpoint

    @property
    def plan(self):
        """All that decides what is written, but for the recordings themselves."""
        data = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self.data).items()}
        return {
            **{name: value for name, value in data.items() if name not in _ASIDE},
            "normalized": self.normalizes,
            "model": self.model_name,
            "codec": self.codec,
            "device": self.device.split(":")[0],
            "shard_minutes": self.options.shard_minutes,
        }

    def _check_plan(self):
        """Refuses to mix what is there with something else."""
        path = self.out / OURS / "plan.json"
        former = read_plan(path)
        if former is None:
            with atomic_file(path, cure="Choose another folder with --out") as file:
                file.write(json.dumps(self.plan, indent=1).encode())
            return
        plan = json.loads(json.dumps(self.plan))
        differing = [
            f"{n} {former.get(n)!r}, now {plan.get(n)!r}" for n in plan | former if former.get(n) != plan.get(n)
        ]
        if differing:
            raise InputError(
                f"{self.out} holds shards of another run: it had {'; '.join(differing)}. Give what it had, to go on with it, or name "
                "another --out"
            )

    # --- the steps ---

    def run(self):
        """Does all of it, and returns what was done, in words. Raises InputError, OutputError."""
        claim(self.out, "prepared")
        with lock(self.out / OURS / "prepare.lock", wait=False) as mine:
            if not mine:
                raise InputError(f"{self.out} is being written by another run: wait for its end, or name another --out")
            self._check_plan()
            recordings = read_recordings(
                self.data, report_path=self.out / "data_report.md", tags=self.description.taught, model=self.checkpoint,
                measure=self._measure,
            )  # fmt: skip
            if self.normalizes:
                recordings = recordings.normalized(self.data.spoken)
            chosen, report = self._chosen(recordings)
            folder, shards = self._encode(chosen)
        return self._told(report, folder, shards)

    def _chosen(self, recordings):
        """(the recordings that are encoded, the report, which is written)."""
        prompts = None
        if self.data.long_rows == "split":
            prompts = load_prompts(self.checkpoint, self.codebook_size, self.description.prompt)
        chosen, rejected = planned(recordings, prompts, self.data)
        report = recordings.report()
        report.kept, report.rejected = chosen, recordings.rejected + rejected
        stop_if_unfit(report, self.data, self.out / "data_report.md")
        return chosen, report

    def _work(self, doing, works, total, done, what):
        """Does works, here or on the cluster. doing: called with a work, returns (its number, how many recordings)."""
        everyone = self.cluster.work(doing, works) if self.cluster else map(doing, works)
        with progress_bar(True, total, what, "clip") as bar:
            bar.update(done)
            for _, count in everyone:
                bar.update(count)

    def _measure(self, entries, *_):
        """As measure_entries, but what was measured is kept, and others may do it."""
        checking = Checking(str(self.out / OURS / "checked"))
        parts = parts_of(entries)
        self._work(checking, parts, len(entries), 0, "checking recordings")
        return [found for number, _ in parts for found in checking.result(number)]

    def _encode(self, chosen):
        """(the folder that the shards are in, the shards)."""
        shards = shards_of(chosen, self.options.shard_minutes, self.data.level_loudness, self.codec)
        unfinished, finished = Path(self.encoding.folder), self.out / "shards"
        folder = finished if finished.is_dir() else unfinished
        folder.mkdir(parents=True, exist_ok=True)
        states = {shard.number: shard.state(folder) for shard in shards}
        strange = [shard.name for shard in shards if states[shard.number] == "foreign"]
        strange += sorted({path.name for path in folder.glob("*.parquet")} - {shard.name for shard in shards})
        lacking = [shard for shard in shards if states[shard.number] == "lacking"]
        if folder == finished and lacking:
            strange += [shard.name for shard in lacking]
        if strange:
            raise InputError(
                f"{folder}: {len(strange):,} of {len(shards):,} shards were made from other recordings than are there now, or are "
                f"damaged ({strange[0]}): name another --out, or remove {self.out} to begin again"
            )
        if len(lacking) < len(shards):
            say(f"{len(shards) - len(lacking):,} of {len(shards):,} shards are there already, and are kept")
        done = len(chosen) - sum(len(shard.recordings) for shard in lacking)
        self._work(self.encoding, lacking, len(chosen), done, "encoding")
        if folder == unfinished:
            for left in set(unfinished.iterdir()) - {unfinished / shard.name for shard in shards}:
                left.unlink()  # of a write that was killed
            os.replace(unfinished, finished)
        return finished, shards

    def _told(self, report, folder, shards):
        kinds = report.reasons().most_common(_NAMED)
        listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds)
        left_out = f"; {len(report.rejected):,} left out ({listed})" if report.rejected else ""
        return (
            f"{folder}: {len(report.kept):,} of {report.read:,} recordings, {report.hours:.2f} hours, in {len(shards):,} shards{left_out}\n"
            f"{self.out / 'data_report.md'} lists what was left out, and why\n"
            f"python orpheus_sft_unsloth.py --dataset {folder}"
        )
