"""One training step of the language model, recorded as a CUDA graph for every width of batch.

Besides the next token the model learns two things that help it speak:
- which sounds come in the frame that it is about to write (a head that is thrown away);
- to give log-probabilities as logits, their exponentials summing to one (a penalty on the log of the sum).
  A repetition penalty multiplies negative logits by 1.1; with such logits that leaves likely tokens alone,
  however often they came.
"""

import math

import torch
import torch.nn.functional as F

from recipes.demo_voice.corpus.labels import CLASS_COUNT, IGNORE
from recipes.demo_voice.language.data import LABELS_PER_FRAME
from recipes.demo_voice.language.model import hidden_states
from recipes.demo_voice.language.tokenizer import demo_layout

SUMS = (
    *("audio", "audio_count", "coarse", "coarse_count", "end", "end_count", "text", "text_count"),
    *("sound", "squared_normaliser", "right", "right_count"),
)
"""What the log is made of; losses are sums over tokens."""


def describe(sums):
    """A line of means for the log; `sums` as in SUMS."""
    total = dict(zip(SUMS, sums))
    parts = [
        f"{name} {total[name] / max(total[name + '_count'], 1):.4f}" for name in ("audio", "coarse", "end", "text")
    ]
    parts.append(f"sound {total['sound'] / max(total['audio_count'], 1):.3f}")
    parts.append(f"right {total['right'] / max(total['right_count'], 1):.3f}")
    parts.append(f"normaliser {math.sqrt(total['squared_normaliser'] / max(total['audio_count'], 1)):.3f}")
    return " ".join(parts)


class LanguageStep:
    def __init__(self, model, examples, options):
        self.model, self.examples, self.options = model, examples, options
        self.device = examples.device
        self.cuda = self.device.type == "cuda"
        self.layout = demo_layout((model.config.vocab_size - demo_layout(0).first_audio) // 7)
        self.sound_head = torch.nn.Linear(model.config.hidden_size, CLASS_COUNT * LABELS_PER_FRAME).to(self.device)
        self.parameters = list(model.parameters()) + list(self.sound_head.parameters())
        matrices = [parameter for parameter in self.parameters if parameter.dim() > 1]
        vectors = [parameter for parameter in self.parameters if parameter.dim() == 1]
        self.optimiser = torch.optim.AdamW(
            [dict(params=matrices, weight_decay=options.decay), dict(params=vectors, weight_decay=0.0)],
            lr=torch.tensor(options.rate, device=self.device) if self.cuda else options.rate,
            betas=(0.9, 0.95),
            fused=self.cuda or None,
            capturable=self.cuda,
        )
        self.sums = torch.zeros(len(SUMS), device=self.device)
        self.graphs = {}
        self.pool = torch.cuda.graph_pool_handle() if self.cuda else None

    def set_rate(self, rate):
        for group in self.optimiser.param_groups:
            if torch.is_tensor(group["lr"]):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def take_sums(self):
        sums = self.sums.tolist()
        self.sums.zero_()
        return sums

    def disturb(self, ids):
        """Some codes replaced by random ones of their position in the frame: the model must not lean on what it wrote."""
        first, size = self.layout.first_audio, self.layout.codebook_size
        hit = (ids >= first) & (torch.rand(ids.shape, device=ids.device) < self.options.code_noise)
        range_start = first + (ids - first) // size * size
        return torch.where(hit, range_start + torch.randint(size, ids.shape, device=ids.device), ids)

    def losses(self, batch, train):
        """(loss, SUMS as a tensor) of a batch of `Examples.gather`."""
        options, layout = self.options, self.layout
        ids, inside, is_audio, sounds = batch
        inputs = self.disturb(ids) if train else ids
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.cuda):
            hidden = hidden_states(self.model, inputs, options.dropout if train else 0.0)
            logits = self.model.lm_head(hidden[:, :-1])
            sound_logits = self.sound_head(hidden)
        logits = logits.float()
        targets, known = ids[:, 1:], inside[:, 1:]
        normaliser = logits.logsumexp(-1)
        token_loss = normaliser - logits.gather(-1, targets[..., None])[..., 0]
        audio = (is_audio[:, 1:] & known).float()
        text = known.float() - audio
        weights = audio + options.text_weight * text
        squared = normaliser.square() * audio
        classes = sounds.long().reshape(-1)
        sound_logits = sound_logits.float().reshape(-1, CLASS_COUNT)
        sound_loss = F.cross_entropy(sound_logits, classes, ignore_index=IGNORE)
        loss = (token_loss * weights).sum() / weights.sum()
        loss = loss + options.normaliser_weight * squared.sum() / audio.sum() + options.sound_weight * sound_loss
        with torch.no_grad():
            coarse = audio * (targets >= layout.first_audio) * (targets < layout.first_audio + layout.codebook_size)
            end = audio * (targets == layout.end_of_speech)
            parts = []
            for mask in (audio, coarse, end, text):
                parts += [(token_loss * mask).sum(), mask.sum()]
            labelled = classes != IGNORE
            right = (sound_logits.argmax(-1) == classes) & labelled
            parts += [sound_loss * audio.sum(), squared.sum(), right.sum(), labelled.sum()]
        return loss, torch.stack([part.float() for part in parts])

    def update(self, chosen, width):
        """One update on the examples `chosen` (batch,). Nothing here waits for the GPU, so that it can be recorded."""
        loss, sums = self.losses(self.examples.gather(chosen, width), train=True)
        gradients = torch.autograd.grad(loss, self.parameters)
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        torch._foreach_mul_(gradients, (1.0 / (norm + 1e-6)).clamp(max=1.0))
        for parameter, gradient in zip(self.parameters, gradients):
            parameter.grad = gradient
        self.optimiser.step()
        self.sums += sums

    def run(self, width, examples):
        """One step; a width's graph is recorded when the width first comes, and replayed from then on."""
        chosen = torch.tensor(examples, device=self.device)
        if not self.cuda:
            self.update(chosen, width)
        elif width in self.graphs:
            graph, stored = self.graphs[width]
            stored.copy_(chosen)
            graph.replay()
        else:
            self.graphs[width] = (self._record(chosen, width), chosen)

    def _record(self, chosen, width):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(1 if self.graphs else 3):
                self.update(chosen, width)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        for parameter in self.parameters:
            parameter.grad = None
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            self.update(chosen, width)
        return graph
