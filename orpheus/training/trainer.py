"""The training loop: packed steps, held-out loss, states to resume from.

Same data, options and seed give the same adapter; on a CPU a run that was killed and resumed gives it bit for bit.
"""

import math
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist

from orpheus.common.errors import InputError, OrpheusError, OutputError, StoppedError
from orpheus.training.hardware import matrix_rate
from orpheus.training.optimizer import make_optimizer
from orpheus.training.packing import make_pack, split_step, targets_of
from orpheus.training.schedule import Patience, learning_rate, plan_run
from orpheus.training.small import MOST_AT_ONCE, AtOnce
from orpheus.training.states import TrainerState, fingerprint, load_state, save_state
from orpheus.training.steps import Gradients


def _better(one, other, options):
    """Whether a (held-out loss, word error rate) is better than another."""
    return one[0] < other[0] if options.keep_best_by == "loss" else one[::-1] < other[::-1]


class Trainer:
    """Trains a LoraLlama's adapter on examples.

    llama: orpheus.training.llama.LoraLlama; train, held_out: orpheus.data.examples.Example; folder: where states go; log: TrainingLog
    on_best(step), on_sample(step): called on every rank when a better adapter is there, or sentences are due
    on_evaluate(step): called on every rank after each held-out loss; returns a word error rate, the same on all of them
    back_to_best(): called on every rank to bring back the adapter of the last on_best
    best: the Best that states carry along; of: what else decides the result, for `fingerprint`
    """

    def __init__(
        self,
        llama,
        train,
        held_out,
        layout,
        options,
        folder,
        log,
        on_best=None,
        on_sample=None,
        on_evaluate=None,
        back_to_best=None,
        best=None,
        of=None,
    ):
        self.llama, self.train, self.held_out = llama, train, held_out
        self.layout, self.options, self.log = layout, options, log
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.lengths = [len(example.input_ids) for example in train]
        self.longest = max(len(example.input_ids) for example in [*train, *held_out])
        self.plan = plan_run(self.lengths, options, self.measured)
        self.steps = self.plan.steps
        if not self.steps:
            raise InputError(
                f"epochs {options.epochs:g} of {len(train)} recordings is less than one of them: raise --epochs to "
                f"{1 / len(train):.2g} at least; 1 is one pass over all"
            )
        self.fingerprint = fingerprint(train, options, self.plan, **(of or {}))
        self.optimizer, self.optimizer_name = make_optimizer(options.optimizer, llama.adapter.master, options)
        if self.world > 1:  # one beginning for all
            dist.broadcast(llama.adapter.master.data, 0)
            llama.adapter.refresh()
        fullest = max(map(len, self.steps)) // self.world
        self.lists = max(1, min(torch.get_num_threads(), MOST_AT_ONCE, fullest)) if llama.parallel else 1
        self.gradients, self.at_once = Gradients(llama), AtOnce(llama, self.lists) if self.lists > 1 else None
        self.ready = None  # (the next step's examples, the capacity that its packs are for, the packs)
        self.stop = self.all_stop = False
        self.state = TrainerState(falls_from=None if self.plan.rounds else 0)
        self.best, self.saved = best, None  # the step after which a state was saved last
        self.states = Path(folder) / "states"
        self.on_best, self.on_sample = on_best or (lambda step: None), on_sample or (lambda step: None)
        self.on_evaluate, self.back_to_best = on_evaluate or (lambda step: math.inf), back_to_best
        fullest = max(sum(self.lengths[example] for example in step) for step in self.steps)
        share = math.ceil(fullest / self.world * (1 if self.world == 1 else 1.05))
        self.capacity = max(self.longest, min(options.micro_batch_tokens or share, share))
        self.first_row = 0 if options.full_vocabulary or options.text_loss_weight else layout.base
        if self.first_row and llama.small:
            llama.narrow(layout)
        self.rate = matrix_rate(llama.device)
        self.half = llama.dtype == torch.float16

    # --- one step ---

    def _pack(self, examples, text_loss_weight=0.0):
        return make_pack(examples, self.layout, self.llama.device, text_loss_weight, self.llama.multiple)

    def _packs(self, examples):
        """This rank's share of a step: for each of `lists`, its micro-batches."""
        if self.ready and self.ready[:2] == (examples, self.capacity):
            return self.ready[2]
        shares = split_step(examples, self.lengths, self.world * self.lists, self.capacity)[self.rank :: self.world]
        weight = self.options.text_loss_weight
        return [[self._pack([self.train[one] for one in part], weight) for part in share] for share in shares]

    def _prepare(self, number):
        """Makes the packs of a step while the device is at work on the one before it."""
        examples = self.steps[number] if number < len(self.steps) else []
        self.ready = None
        self.ready = (examples, self.capacity, self._packs(examples)) if examples else None

    def _gradients(self, examples):
        """Adds up the step's gradients of this rank in micro-batches; returns the loss of its share, a tensor."""
        total = sum(targets_of(self.train[example], self.options.text_loss_weight) for example in examples)
        scale = self.state.loss_scale.value if self.half else 1.0
        lists = self._packs(examples)
        if self.at_once:
            loss = self.at_once(lists, self.first_row, scale / total)
        else:
            loss = torch.zeros((), device=self.llama.device)
            for pack in lists[0]:
                loss += self.gradients(pack, self.first_row, scale / total)
        if scale != 1:
            self.llama.adapter.master.grad /= scale
        return loss / scale

    def _gradients_that_fit(self, examples):
        while True:
            try:
                return self._gradients(examples)
            except torch.OutOfMemoryError as error:
                smaller = max(self.longest, self.capacity // 2)
                if smaller == self.capacity:
                    raise OrpheusError(
                        f"out of GPU memory with {self.capacity} tokens at once, the longest example: add --gradient-checkpointing "
                        "--load-in-4bit, or lower --max-tokens"
                    ) from error
            self.log.say(
                f"out of memory with micro-batches of {self.capacity} tokens: {smaller} from now on, the same steps"
            )
            self.capacity = smaller
            self.llama.adapter.zero_grad()
            torch.cuda.empty_cache()

    def _step(self, number):
        """(loss, gradient norm, tokens) of a step; in float16 the adapter stays as it was where a gradient overflows."""
        examples = self.steps[number]
        adapter = self.llama.adapter
        adapter.zero_grad()
        loss = self._gradients_that_fit(examples)
        asked = torch.tensor(float(self.stop))
        if self.world > 1:
            dist.all_reduce(adapter.master.grad)
            of_all = torch.stack([loss, asked.to(loss.device, non_blocking=True)])
            dist.all_reduce(of_all)
            loss, asked = of_all
        norm = torch.nn.utils.clip_grad_norm_([adapter.master], self.options.max_grad_norm)
        values = torch.stack([loss, norm, asked.to(loss.device)])
        self._prepare(number + 1)
        loss, norm, asked = values.tolist()
        self.all_stop = asked > 0
        if self._usable(number, loss, norm):
            rate = learning_rate(number, self.end, self.options, self.state.falls_from)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
            adapter.refresh()
        return loss, norm, sum(self.lengths[example] for example in examples)

    def _usable(self, number, loss, norm):
        """Whether a step's gradient may move the adapter. Raises OrpheusError where that is hopeless."""
        scale, finite = self.state.loss_scale, math.isfinite(loss) and math.isfinite(norm)
        if self.half and finite:
            scale.good()
        elif self.half and scale.overflow():
            self.log.say(f"step {number + 1} skipped: too large for float16; the loss is scaled by {scale.value:g} now")
        elif not finite:
            names = ", ".join(self.train[example].where for example in self.steps[number][:20])
            often = f", as in the {scale.overflows - 1} steps before" if self.half else ""
            raise OrpheusError(
                f"the loss is {loss} and the gradient's norm {norm} in step {number + 1}{often}; the adapter is left as it was "
                f"before. Examples of this step: {names}. Lower --learning-rate, or look at these examples"
            )
        return finite

    # --- the run ---

    def run(self):
        """Trains to the end; returns TrainerState. Raises StoppedError after `stop` was set, the state saved."""
        state = self.state
        if state.first is None and self.measured:
            state.first = state.to_beat = self._evaluate(0)
            state.first_wer = self.on_evaluate(0)
        self.log.begin(self.end, state.step, self.open_ended)
        try:
            return self._make_steps()
        finally:
            self.log.end()

    def _make_steps(self):
        state = self.state
        while state.step < self.end:
            began = time.perf_counter()
            loss, norm, tokens = self._step(state.step)
            taken = time.perf_counter() - began
            state.step, state.tokens = state.step + 1, state.tokens + tokens
            state.seconds += taken
            values = {"loss": loss, "tokens_per_second": tokens / taken, "gradient_norm": norm}
            values = {name: value for name, value in values.items() if math.isfinite(value)}  # of a skipped step
            if self.rate:
                values["card_share"] = (
                    self.llama.flop_per_token(self.first_row) * tokens / taken / self.rate / self.world
                )
            self.log.step(state.step, **values, learning_rate=self.optimizer.param_groups[0]["lr"])
            self._now_and_then()
            if self._stopped():
                self.save()
                raise StoppedError(f"stopped after step {state.step} of {self.end}; {self.where_saved()}")
        return state

    @property
    def measured(self):
        """Whether there is a held-out loss."""
        return bool(self.held_out and self.options.eval_steps)

    @property
    def end(self):
        """Number of steps of the run, as far as it is known."""
        return self.plan.end(self.state.falls_from)

    @property
    def open_ended(self):
        """Whether the run may end before `end`: as soon as the held-out loss has stopped falling."""
        return bool(self.plan.rounds) and self.state.falls_from is None

    def _stopped(self):
        """Whether any rank was asked to stop: they have to agree, so what counts with several is what was known in the step."""
        return self.stop if self.world == 1 else self.all_stop

    def _now_and_then(self):
        step, options, last = self.state.step, self.options, self.state.step == self.end

        def due(every):
            return every and (last or step % every == 0)

        if self.measured and (due(options.eval_steps) or step in self.plan.rounds):
            self.state.last = self._evaluate(step)
            self._note_best(step, self.state.last, self.on_evaluate(step))
            if Patience(self.plan, self.state).spent(step, self.state.last):
                self._begin_last_round(step)
        if options.sample_steps and step % options.sample_steps == 0 and not last:
            self.on_sample(step)
        if last or (options.save_steps and step % options.save_steps == 0):
            self.save()

    def _note_best(self, step, loss, wer):
        """Keeps the adapter where it is better than all before it, by the criterion that was asked for."""
        state = self.state
        if _better((loss, wer), (state.best, state.best_wer), self.options):
            state.best, state.best_wer, state.best_step = loss, wer, step
            self.on_best(step)

    @property
    def base_is_best(self):
        """Whether no adapter on the way was better than the base model alone, as far as that was measured."""
        state = self.state
        return self.measured and not _better((state.best, state.best_wer), (state.first, state.first_wer), self.options)

    def _begin_last_round(self, step):
        """From here on the learning rate falls; where the adapter was better before, from that one."""
        state, words = self.state, "the last passes begin"
        state.falls_from = step
        if state.rounds_without_gain:
            words = f"the held-out loss has stopped falling: {words}"
            if self.back_to_best and state.best_step < step:
                self.back_to_best()
                words += f", from the best adapter, that of step {state.best_step}"
        self.log.say(f"{words}; the learning rate falls until step {self.end}")
        self.log.expect(self.end, self.open_ended)

    @torch.no_grad()
    def _evaluate(self, step, name="held_out_loss"):
        """Mean cross-entropy over the whole vocabulary of the held-out examples' audio; every rank does all of them."""
        lengths = [len(example.input_ids) for example in self.held_out]
        order = sorted(range(len(lengths)), key=lambda example: -lengths[example])
        with self.log.doing("measuring the held-out loss"):
            loss = sum(
                self.llama.loss(self._pack([self.held_out[example] for example in examples])).item()
                for examples in split_step(order, lengths, 1, self.capacity)[0]
            )
        loss /= sum(targets_of(example, 0) for example in self.held_out)
        if self.world > 1:  # all ranks decide by the same number
            shared = torch.tensor(loss, dtype=torch.float64, device=self.llama.device)
            dist.broadcast(shared, 0)
            loss = shared.item()
        of_what = "" if name == "held_out_loss" else " of the adapter as it is written"
        self.log.event(step, f"held-out loss {loss:.2f}{of_what}", **{name: loss})
        return loss

    def measure_written(self):
        """Measures the adapter as it will be written: to be called once it is what it is going to be."""
        if self.measured:
            self.state.written = self._evaluate(self.state.step, "written_held_out_loss")

    # --- states ---

    def save(self):
        """Saves the state after the present step, on rank 0. A full disk is said, and training goes on."""
        if self.rank or self.saved == self.state.step:
            return
        content = {
            "master": self.llama.adapter.master.data,
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.state),
            "fingerprint": self.fingerprint,
            "best": self.best.master if self.best else None,
        }
        try:
            save_state(self.states, self.state.step, content)
            self.saved = self.state.step
        except OutputError as error:
            former = f"the state after step {self.saved} stays" if self.saved is not None else "there is no state yet"
            self.log.say(f"{error}; {former}, training goes on, and the next save tries again")

    def where_saved(self):
        """From where the run can be gone on with, in words."""
        if self.rank:
            return "rank 0 says how to go on"
        if self.saved is None:
            return "no state is saved"
        return f"the state after step {self.saved} is in {self.states}: go on with --resume"

    def resume(self):
        """Goes back to the last sound state. Raises CheckpointError where there is none, or it is of another run."""
        content = load_state(self.states, self.fingerprint, self.llama.device, self.log.say)
        self.llama.adapter.master.data.copy_(content["master"])
        self.llama.adapter.refresh()
        self.optimizer.load_state_dict(content["optimizer"])
        self.state = TrainerState(**content["progress"])
        self.saved = self.state.step
        if self.best and content["best"] is not None:
            self.best.master = content["best"].cpu()
        self.log.say(f"resumed after step {self.state.step} of {self.end}")
