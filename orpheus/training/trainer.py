"""The training loop: packed steps, held-out loss, states to resume from.

Same data, options and seed give the same adapter; on a CPU a run that was killed and resumed gives it bit for bit.
"""

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from orpheus.common.errors import OrpheusError, OutputError, StoppedError
from orpheus.training.hardware import matrix_rate
from orpheus.training.packing import make_pack, plan_steps, split_step, targets_of
from orpheus.training.states import fingerprint, load_state, save_state

_HALF_SCALE = 4096.0  # of the loss in float16, where small gradients would be 0


def learning_rate(step, total, options):
    """For optimizer step `step` (from 0) of `total`: a linear rise over the warm-up, then a linear fall to 0."""
    warmup = min(options.warmup_steps, max(1, total // 2))
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    return options.learning_rate * (total - step) / max(1, total - warmup)


def make_optimizer(name, parameter, options):
    """(optimizer, its name) for one float32 parameter."""
    if name == "auto":
        from importlib.util import find_spec

        name = "adamw_8bit" if parameter.is_cuda and find_spec("bitsandbytes") else "adamw"
    if name == "adamw_8bit":
        try:
            import bitsandbytes
        except ImportError as error:
            raise OrpheusError(
                f"--optimizer adamw_8bit needs bitsandbytes ({error}): pip install bitsandbytes, or --optimizer adamw"
            ) from error
        return bitsandbytes.optim.AdamW8bit([parameter], lr=0.0, weight_decay=options.weight_decay), name
    return torch.optim.AdamW([parameter], lr=0.0, weight_decay=options.weight_decay, fused=parameter.is_cuda), name


@dataclass
class TrainerState:
    """What a state keeps besides weights and optimizer."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float = math.inf  # held-out loss of the best adapter
    best_wer: float = math.inf  # its word error rate, where that decides
    best_step: int = 0
    first: float | None = None  # held-out loss before training
    last: float | None = None  # held-out loss after the last step


class Trainer:
    """Trains a LoraLlama's adapter on examples.

    llama: orpheus.training.llama.LoraLlama; train, held_out: orpheus.data.examples.Example; folder: where states go; log: TrainingLog
    on_best(step), on_sample(step): called on every rank when a better adapter is there, or sentences are due
    on_evaluate(step): called on every rank after each held-out loss; returns a word error rate, the same on all of them
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
        compiled=False,
        on_best=None,
        on_sample=None,
        on_evaluate=None,
        best=None,
        of=None,
    ):
        self.llama, self.train, self.held_out = llama, train, held_out
        self.layout, self.options, self.log = layout, options, log
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.lengths = [len(example.input_ids) for example in train]
        self.longest = max(len(example.input_ids) for example in [*train, *held_out])
        self.steps = plan_steps(self.lengths, options.tokens_per_step, options.epochs, options.seed)[
            : options.max_steps
        ]
        self.fingerprint = fingerprint(train, options, **(of or {}))
        self.optimizer, self.optimizer_name = make_optimizer(options.optimizer, llama.adapter.master, options)
        if self.world > 1:  # one beginning for all
            dist.broadcast(llama.adapter.master.data, 0)
            llama.adapter.refresh()
        self.compiled, self.state, self.stop = compiled, TrainerState(), False
        self.best, self.saved = best, None  # the step after which a state was saved last
        self.states = Path(folder) / "states"
        self.on_best, self.on_sample = on_best or (lambda step: None), on_sample or (lambda step: None)
        self.on_evaluate = on_evaluate or (lambda step: math.inf)
        share = math.ceil(options.tokens_per_step / self.world * (1 if self.world == 1 else 1.05))
        self.capacity = max(self.longest, min(options.micro_batch_tokens or share, share))
        self.first_row = 0 if options.full_vocabulary or options.text_loss_weight else layout.base
        self.rate = matrix_rate(llama.device)

    # --- one step ---

    def _pack(self, examples, text_loss_weight=0.0):
        fixed = {"tokens": -(-self.capacity // 128) * 128, "longest": self.longest} if self.compiled else {}
        return make_pack(examples, self.layout, self.llama.device, text_loss_weight, **fixed)

    def _gradients(self, examples):
        """Adds up the step's gradients of this rank in micro-batches; returns the loss of its share, a tensor."""
        share = split_step(examples, self.lengths, self.world, self.capacity)[self.rank]
        total = sum(targets_of(self.train[example], self.options.text_loss_weight) for example in examples)
        scale = _HALF_SCALE if self.llama.dtype == torch.float16 else 1.0
        loss = torch.zeros((), device=self.llama.device)
        for micro_batch in share:
            part = self.llama.loss(self._pack([self.train[example] for example in micro_batch]), self.first_row) * (
                scale / total
            )
            part.backward()
            self.llama.adapter.collect()
            loss += part.detach()
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
        examples = self.steps[number]
        adapter = self.llama.adapter
        adapter.zero_grad()
        loss = self._gradients_that_fit(examples)
        if self.world > 1:
            dist.all_reduce(adapter.master.grad)
            dist.all_reduce(loss)
        norm = torch.nn.utils.clip_grad_norm_([adapter.master], self.options.max_grad_norm)
        loss, norm = torch.stack([loss, norm]).tolist()
        if not math.isfinite(loss) or not math.isfinite(norm):
            names = ", ".join(self.train[example].where for example in examples[:20])
            raise OrpheusError(
                f"the loss is {loss} and the gradient's norm {norm} in step {number + 1}; the adapter is left as it was before. "
                f"Rows of this step: {names}. Lower --learning-rate, or look at these examples"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(number, len(self.steps), self.options)
        self.optimizer.step()
        adapter.refresh()
        return loss, norm, sum(self.lengths[example] for example in examples)

    # --- the run ---

    def run(self):
        """Trains to the end; returns TrainerState. Raises StoppedError after `stop` was set, the state saved."""
        state = self.state
        if state.first is None and self.held_out:
            state.first = self._evaluate(0)
            self.on_evaluate(0)
        while state.step < len(self.steps):
            began = time.perf_counter()
            loss, norm, tokens = self._step(state.step)
            taken = time.perf_counter() - began
            state.step, state.tokens = state.step + 1, state.tokens + tokens
            state.seconds += taken
            values = {"loss": loss, "tokens_per_second": tokens / taken, "gradient_norm": norm}
            if self.rate:
                values["card_share"] = self.flop_per_token() * tokens / taken / self.rate / self.world
            self.log.step(state.step, **values, learning_rate=self.optimizer.param_groups[0]["lr"])
            self._now_and_then()
            if self._stopped():
                self.save()
                raise StoppedError(f"stopped after step {state.step} of {len(self.steps)}; {self.where_saved()}")
        return state

    def _stopped(self):
        """Whether any rank was asked to stop: they have to agree."""
        if self.world == 1:
            return self.stop
        flag = torch.tensor(float(self.stop), device=self.llama.device)
        dist.all_reduce(flag)
        return bool(flag.item())

    def _now_and_then(self):
        step, options, last = self.state.step, self.options, self.state.step == len(self.steps)

        def due(every):
            return every and (last or step % every == 0)

        if self.held_out and due(options.eval_steps):
            self.state.last = self._evaluate(step)
            self._note_best(step, self.state.last, self.on_evaluate(step))
        if options.sample_steps and step % options.sample_steps == 0 and not last:
            self.on_sample(step)
        if last or (options.save_steps and step % options.save_steps == 0):
            self.save()

    def _note_best(self, step, loss, wer):
        """Keeps the adapter where it is better than all before it, by the criterion that was asked for."""
        state = self.state
        by_loss = self.options.keep_best_by == "loss"
        if loss < state.best if by_loss else (wer, loss) < (state.best_wer, state.best):
            state.best, state.best_wer, state.best_step = loss, wer, step
            self.on_best(step)

    @torch.no_grad()
    def _evaluate(self, step):
        """Mean cross-entropy over the whole vocabulary of the held-out examples' audio; every rank does all of them."""
        lengths = [len(example.input_ids) for example in self.held_out]
        order = sorted(range(len(lengths)), key=lambda example: -lengths[example])
        loss = sum(
            self.llama.loss(self._pack([self.held_out[example] for example in examples])).item()
            for examples in split_step(order, lengths, 1, self.capacity)[0]
        )
        loss /= sum(targets_of(example, 0) for example in self.held_out)
        self.log.event(step, f"held-out loss {loss:.4f}", held_out_loss=loss)
        return loss

    def facts(self, memory):
        """Figures of the finished run, for its card."""
        state, options = self.state, self.options
        best = f"{state.best:.4f} at step {state.best_step}" if state.best_step else "not measured"
        facts = {
            "steps": state.step,
            "epochs": options.epochs,
            "tokens_trained_on": state.tokens,
            "learning_rate": options.learning_rate,
            "lora_rank": options.lora_rank,
            "optimizer": self.optimizer_name,
            "held_out_loss_before": state.first,
            "held_out_loss_best": best,
            "held_out_loss_last": state.last,
            "seconds": round(state.seconds, 1),
            "tokens_per_second": round(state.tokens / max(state.seconds, 1e-9)),
        }
        return facts | ({"peak_gpu_memory_gb": memory.peak()} if memory.gpu else {})

    def flop_per_token(self):
        """Arithmetic of a training token: 4 x the base weights that it passes, 6 x the adapter; no recomputation, no attention."""
        config, adapter = self.llama.config, len(self.llama.adapter.master)
        layers = sum(sum(group.rows) * group.width for group in self.llama.adapter.groups)
        head = (self.llama.head.shape[0] - self.first_row) * config.hidden_size
        return 4 * (layers + head) + 6 * adapter

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
        self.log.say(f"resumed after step {self.state.step} of {len(self.steps)}")
