"""LoRA as training needs it: all adapter weights in one vector, and each product with its adapters in one kernel.

The optimizer, the gradient norm, the exchange between GPUs and the checkpoint then each handle one tensor instead of 392.
The vector is kept in float32 whatever the model computes in, so that small updates are not lost to rounding.
"""

import torch
from torch import nn

from orpheus.codec.graphs import record
from orpheus.engines.loading import load_language_model
from orpheus.training.eight import EightWeight
from orpheus.training.options import LORA_TARGETS

ADAPTER = "default"  # the name that peft gives to the first adapter


class LoraLinear(torch.autograd.Function):
    """y = [x, x A^T] W^T for linear layers that share their input.

    W (out, in + R) holds the frozen weights and, in its last R columns, each layer's B times the scale (block-diagonal), so
    that adapters cost neither another pass over the output nor, in the backward pass, over its gradient. Gradients go to
    A and to the layers' B; W gets none.
    """

    @staticmethod
    def forward(ctx, x, w, scale, a, *bs):
        """x (T, in); w (out, in + R) or a function that makes it; a (R, in); bs: (out_i, r) each. Returns (T, out)."""
        xa = torch.cat([x, x @ a.T], dim=1)
        weight = w() if callable(w) else w
        ctx.make_weight, ctx.scale = (w, scale) if callable(w) else (None, scale)
        ctx.save_for_backward(xa, None if callable(w) else w, a)
        ctx.rows = [tuple(b.shape) for b in bs]
        return xa @ weight.T

    @staticmethod
    def backward(ctx, dy):
        xa, w, a = ctx.saved_tensors
        width = a.shape[1]
        x, h = xa[:, :width], xa[:, width:]
        d = dy @ (w if ctx.make_weight is None else ctx.make_weight())  # (T, in + R)
        dh = d[:, width:]
        dx = d[:, :width] + dh @ a if ctx.needs_input_grad[0] else None  # addmm would copy d first
        dbs, row, column = [], 0, 0
        for rows, rank in ctx.rows:
            dbs.append((dy[:, row : row + rows].T @ h[:, column : column + rank]) * ctx.scale)
            row, column = row + rows, column + rank
        return (dx, None, None, dh.T @ x, *dbs)


def lora_linear(x, w, scale, a, *bs):
    """LoraLinear where gradients are wanted, else its product alone."""
    if torch.is_grad_enabled():
        return LoraLinear.apply(x, w, scale, a, *bs)
    return torch.cat([x, x @ a.T], dim=1) @ (w() if callable(w) else w).T


def dequantized(module):
    """A linear layer's weight (out, in) in 16 bits, whether it is stored so or in bitsandbytes' 4 bits."""
    weight = module.weight
    if getattr(weight, "quant_state", None) is None:
        return weight.data
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(weight.data, weight.quant_state)


class LoraGroup:
    """Linear layers that share their input (q, k, v, say), with their adapters.

    a, bs: the adapters' leaves in the model's compute dtype; gradients: [(that of a, those of bs)], one for each vector of FlatAdapter that
    takes them; eight: the EightWeight, where products are in FP8; one: `merged`, where it
    is kept (`keep_merged`)
    """

    def __init__(self, modules, dtype):
        self.modules, self.dtype = modules, dtype
        self.base = [module.base_layer for module in modules]
        if any(layer.bias is not None for layer in self.base):
            raise ValueError("linear layers with a bias are not supported: Llama has none")
        self.scale = modules[0].scaling[ADAPTER]
        self.width = modules[0].lora_A[ADAPTER].weight.shape[1]
        self.rank = sum(module.lora_A[ADAPTER].weight.shape[0] for module in modules)
        self.rows = [module.lora_B[ADAPTER].weight.shape[0] for module in modules]
        self.out = sum(self.rows)
        self.quantized = getattr(self.base[0].weight, "quant_state", None) is not None
        self.a = self.bs = self.gradients = None  # set by FlatAdapter
        self.eight = self.one = None
        self.whole = None if self.quantized else self._fuse()

    def _empty(self):
        device = self.base[0].weight.device
        size = self.out + self.rank, self.width + self.rank
        return torch.zeros(size, dtype=self.dtype, device=device)

    def _fuse(self):
        """Moves the base weights into one buffer with room for the adapters; the layers keep views of it."""
        fused = self._empty()
        start = 0
        for layer, rows in zip(self.base, self.rows, strict=True):
            place = fused[start : start + rows, : self.width]
            place.copy_(layer.weight.data)
            layer.weight = nn.Parameter(place, requires_grad=False)
            start += rows
        return fused

    def _dequantize(self):
        fused, start = self._empty(), 0
        for layer, rows in zip(self.base, self.rows, strict=True):
            fused[start : start + rows, : self.width] = dequantized(layer)
            start += rows
        self._write_adapters(fused)
        return fused

    def _write_adapters(self, fused):
        fused[self.out :, : self.width] = self.a.detach()
        row, column = 0, self.width
        for b in self.bs:
            torch.mul(b.detach(), self.scale, out=fused[row : row + b.shape[0], column : column + b.shape[1]])
            row, column = row + b.shape[0], column + b.shape[1]

    @torch.no_grad()
    def refresh(self):
        """Takes over the adapters after an optimizer step."""
        if not self.quantized:
            self._write_adapters(self.whole)
        if self.eight:
            self.eight.refresh()
        if self.one is not None:
            self.merged(self.one)

    def in_eight(self, passes):
        """Lets products be in FP8 from now on; `passes` as for FusedLayer."""
        self.eight = EightWeight(self.whole, self.out, self.width, passes)

    def keep_merged(self):
        """Has the merged weights at hand as `one`, made anew by every `refresh`."""
        self.one = self.merged()

    def learn_b(self, dy, low, gradients):
        """Adds the gradients of the B's to `gradients`, one for each: dy (T, out); low: what A made of the input (T, R)."""
        row = column = 0
        for gradient in gradients:
            rows, rank = gradient.shape
            gradient.addmm_(dy[:, row : row + rows].T, low[:, column : column + rank], alpha=self.scale)
            row, column = row + rows, column + rank

    def fused(self):
        """[[W, B], [A, 0]] (out + R, in + R) in 16 bits or more, made anew where W is stored in 4: with it a product and its
        adapters are one product, forward from the left (out rows) and backward from the top (in columns)."""
        return self._dequantize() if self.quantized else self.whole

    def _forward(self):
        return self.fused()[: self.out]

    @property
    def weights(self):
        """What LoraLinear takes after x."""
        return (self._forward if self.quantized else self._forward(), self.scale, self.a, *self.bs)

    @torch.no_grad()
    def merged(self, into=None):
        """The layers' weights with their adapters added, one below the other: (out, in). into: a tensor to write them into"""
        whole = self._forward()
        return torch.addmm(whole[:, : self.width], whole[:, self.width :], self.a, out=into)


class FlatAdapter:
    """The adapter weights of several groups as `master`, one float32 vector whose slices peft's modules hold.

    With another compute dtype the products read a copy in it, taken over by `refresh` after every optimizer step, and their
    gradients are added up in float32 by `collect` after every backward pass.
    """

    def __init__(self, groups, dtype):
        self.groups = groups
        weights = [w for group in groups for w in self._weights(group)]
        device = weights[0].device
        self.master = nn.Parameter(torch.cat([weight.data.float().reshape(-1) for weight in weights]))
        self.master.grad = torch.zeros_like(self.master)
        self.same = dtype == torch.float32
        self.values = self.master.data if self.same else torch.empty(len(self.master), dtype=dtype, device=device)
        self.gradients = self.master.grad if self.same else torch.zeros_like(self.values)
        start = 0
        for group in groups:
            self._adopt(group, start)
            group.a = self._leaf(start, (group.rank, group.width))
            start += group.a.numel()
            group.bs = []
            for module, rows in zip(group.modules, group.rows, strict=True):
                group.bs.append(self._leaf(start, (rows, module.lora_A[ADAPTER].weight.shape[0])))
                start += group.bs[-1].numel()
            group.gradients = [(group.a.grad, [b.grad for b in group.bs])]
        self._recorded, self._others = None, []
        self.refresh()

    @staticmethod
    def _weights(group):
        return [m.lora_A[ADAPTER].weight for m in group.modules] + [m.lora_B[ADAPTER].weight for m in group.modules]

    def _adopt(self, group, start):
        """peft's modules hold slices of the vector from now on, so that whatever saves or merges them sees it."""
        matrices = [m.lora_A[ADAPTER] for m in group.modules] + [m.lora_B[ADAPTER] for m in group.modules]
        for matrix in matrices:
            shape, count = matrix.weight.shape, matrix.weight.numel()
            matrix.weight = nn.Parameter(self.master.data[start : start + count].view(shape), requires_grad=False)
            start += count

    def _leaf(self, start, shape):
        end = start + shape[0] * shape[1]
        leaf = self.values[start:end].view(shape).detach().requires_grad_(True)
        leaf.grad = self.gradients[start:end].view(shape)  # autograd adds to it in place
        return leaf

    @torch.no_grad()
    def refresh(self):
        """To be called whenever `master` has changed."""
        if self._recorded:
            return self._recorded.replay()
        if not self.same:
            self.values.copy_(self.master)
        for group in self.groups:
            group.refresh()

    def record(self):
        """Makes `refresh` one CUDA graph: it is hundreds of small copies."""
        self._recorded, _ = record(self.refresh, runs=1)

    @torch.no_grad()
    def multiply(self, strength):
        """Scales what the adapter adds to the base model."""
        for group in self.groups:
            for module in group.modules:
                module.lora_B[ADAPTER].weight.mul_(strength)  # a slice of `master`
        self.refresh()

    @torch.no_grad()
    def collect(self):
        """Adds the last backward pass to `master.grad`."""
        if not self.same:
            self.master.grad += self.gradients
            self.gradients.zero_()

    def take_from(self, several):
        """Has room for the gradients of so many passes at once: `LoraGroup.gradients` of the first are the leaves' own."""
        while len(self._others) < several - 1:
            vector = torch.zeros_like(self.gradients)
            self._others.append(vector)
            for group in self.groups:
                gradients = [leaf.grad for leaf in (group.a, *group.bs)]
                a, *bs = (vector.as_strided(g.shape, g.stride(), g.storage_offset()) for g in gradients)
                group.gradients.append((a, bs))

    def gather(self):
        """Adds what the others of several passes at once gave, always in the same order."""
        for vector in self._others:
            self.gradients += vector
            vector.zero_()

    def zero_grad(self):
        self.master.grad.zero_()
        for vector in (self.gradients, *self._others):
            vector.zero_()


def load_with_peft(folder, device, options):
    """The base model with a fresh adapter, by transformers and peft alone: on a CPU, or where Unsloth is not wanted."""
    from peft import LoraConfig, get_peft_model

    model = load_language_model(folder, device)
    torch.manual_seed(options.seed)
    config = LoraConfig(
        r=options.lora_rank,
        lora_alpha=options.lora_alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules=list(LORA_TARGETS),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)
