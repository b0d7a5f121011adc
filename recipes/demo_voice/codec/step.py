"""One training step of the codec: the models, their optimisers and losses, recorded as a CUDA graph on a GPU."""

import torch

from recipes.demo_voice.codec.discriminators import Discriminators, adversarial_losses
from recipes.demo_voice.codec.losses import Listener, MelLoss, PhonemeHeads, accuracy, class_loss
from recipes.demo_voice.codec.model import Codebooks, decode, encode, quantise

LOGGED = (
    *("mel", "mel1024", "commitment"),
    *("phoneme0", "phoneme1", "phoneme2", "right0", "right1", "right2"),
    *("hears", "heard", "heard_features"),
    *("adversarial", "features", "discriminators", "gradient"),
)
"""What `CodecStep.logged` holds after a step."""

LISTENER_RATE = 5e-4


def apply_gradients(optimiser, parameters, gradients, limit):
    """Clips the gradients to the norm `limit`, updates, and returns their norm."""
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    torch._foreach_mul_(gradients, (limit / (norm + 1e-6)).clamp(max=1.0))
    for parameter, gradient in zip(parameters, gradients):
        same = gradient.stride() == parameter.stride()
        parameter.grad = gradient if same else torch.empty_like(parameter).copy_(gradient)
    optimiser.step()
    return norm


class CodecStep:
    """Trains `codec` on `crops`; `average` follows it. `decoder_only` leaves encoder and quantiser alone."""

    def __init__(self, codec, average, crops, options, decoder_only):
        self.codec, self.average, self.crops = codec, average, crops
        self.options, self.decoder_only = options, decoder_only
        self.device = crops.device
        self.cuda = self.device.type == "cuda"
        strides = [level.stride for level in codec.quantizer.quantizers]
        self.heads = PhonemeHeads(codec.latent_dim, strides).to(self.device)
        self.listener = Listener().to(self.device)
        self.discriminators = Discriminators(options.discriminator_width).to(self.device)
        self.mel = MelLoss().to(self.device)
        self.codebooks = Codebooks(codec)
        # The codebooks follow averages of their vectors, not gradients.
        books = {id(level.codebook.weight) for level in codec.quantizer.quantizers}
        part = codec.decoder if decoder_only else codec
        self.trained = [parameter for parameter in part.parameters() if id(parameter) not in books]
        if not decoder_only:
            self.trained += list(self.heads.parameters())
        self.listener_parameters = list(self.listener.parameters())
        self.discriminator_parameters = list(self.discriminators.parameters())
        self.optimiser = self._adamw(self.trained, options.rate)
        self.listener_optimiser = self._adamw(self.listener_parameters, LISTENER_RATE)
        self.discriminator_optimiser = self._adamw(self.discriminator_parameters, options.discriminator_rate)
        # Tensors, not numbers: a recorded step reads their present values.
        self.average_step = torch.ones((), device=self.device)
        self.adversarial_share = torch.zeros((), device=self.device)
        self.quantised_share = torch.full((), float(decoder_only), device=self.device)
        self.logged = torch.zeros(len(LOGGED), device=self.device)

    def _adamw(self, parameters, rate):
        if self.cuda:
            rate = torch.tensor(rate, device=self.device)
        return torch.optim.AdamW(
            parameters, lr=rate, betas=(0.8, 0.99), weight_decay=1e-3, fused=self.cuda or None, capturable=self.cuda
        )

    def modules(self):
        """What a later call goes on from, by name."""
        names = "codec average heads listener discriminators optimiser listener_optimiser discriminator_optimiser"
        return {name: getattr(self, name) for name in names.split()}

    def half(self):
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.cuda, cache_enabled=False)

    def run(self, adversarial):
        """One update. Nothing here waits for the GPU, so that it can be recorded."""
        options = self.options
        audio, classes = self.crops.take()
        with torch.set_grad_enabled(not self.decoder_only):
            with self.half():
                latents = encode(self.codec, audio, self.cuda)
            quantised = quantise(self.codec, latents, self.quantised_share)
        with self.half():
            made = decode(self.codec, quantised.latents[-1], self.cuda)[:, 0]
        true = audio[:, 0]
        mel, mel_middle = self.mel(made, true)
        loss = options.mel_weight * mel
        zero = mel.detach() * 0
        phoneme, right = [zero] * 3, [zero] * 3
        if not self.decoder_only:
            with self.half():
                logits = self.heads(quantised.latents)
            phoneme = [class_loss(level, classes) for level in logits]
            right = [accuracy(level.detach(), classes) for level in logits]
            loss = loss + options.commitment_weight * self.quantised_share * quantised.commitment
            loss = loss + sum(weight * value for weight, value in zip(options.phoneme_weights, phoneme))
        hears, heard, heard_features, listener_gradients = self._listen(true, made, classes)
        loss = loss + options.heard_weight * heard + options.heard_feature_weight * heard_features
        fooling = features = judged = zero
        if adversarial:
            judged, fooling, features, judges_gradients = self._judge(true, made)
            weighted = options.adversarial_weight * fooling + options.feature_weight * features
            loss = loss + self.adversarial_share * weighted
        norm = apply_gradients(self.optimiser, self.trained, torch.autograd.grad(loss, self.trained), 100.0)
        apply_gradients(self.listener_optimiser, self.listener_parameters, listener_gradients, 10.0)
        if adversarial:
            apply_gradients(self.discriminator_optimiser, self.discriminator_parameters, judges_gradients, 10.0)
        if not self.decoder_only:
            self.codebooks.update(quantised)
        self._follow()
        values = [mel, mel_middle, quantised.commitment, *phoneme, *right, hears, heard, heard_features]
        values += [fooling, features, judged, norm]
        self.logged.copy_(torch.stack([value.detach().float() for value in values]))

    def _listen(self, true, made, classes):
        """(listener's loss on real audio, its loss on made audio, relative difference of its features, its gradients)."""
        with self.half():
            true_logits, true_features = self.listener(true)
            made_logits, made_features = self.listener(made)
        hears, heard = class_loss(true_logits, classes), class_loss(made_logits, classes)
        difference = 0.0
        for ours, reference in zip(made_features, true_features):
            reference = reference.detach().float()
            difference = difference + (ours.float() - reference).abs().mean() / reference.abs().mean()
        return hears, heard, difference, torch.autograd.grad(hears, self.listener_parameters)

    def _judge(self, true, made):
        """(discriminators' loss, the codec's loss by their scores and by their features, gradients of the first).

        They listen once, to both: all losses come from the same verdicts.
        """
        true, made = (self.crops.part(audio[: self.options.adversarial_batch]) for audio in (true, made))
        with self.half():
            verdicts = self.discriminators(torch.cat([true, made]))
        judged, fooling, features = adversarial_losses(verdicts)
        gradients = torch.autograd.grad(judged, self.discriminator_parameters, retain_graph=True)
        return judged, fooling, features, gradients

    @torch.no_grad()
    def _follow(self):
        averaged = list(self.average.parameters())
        difference = torch._foreach_sub(list(self.codec.parameters()), averaged)
        torch._foreach_mul_(difference, self.average_step)
        torch._foreach_add_(averaged, difference)

    def recorded(self, adversarial):
        """A callable that runs one step: the replay of a CUDA graph where there is a GPU."""

        def run():
            self.run(adversarial)

        if not self.cuda:
            return run
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(4):  # kernels are chosen and optimiser states made before recording
                self.crops.choose()
                run()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        for parameter in self.trained + self.discriminator_parameters + self.listener_parameters:
            parameter.grad = None
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        graph.replay()
        torch.cuda.synchronize()
        memory = torch.cuda.max_memory_allocated() / 2**30
        print(f"step recorded as a graph (adversarial {adversarial}), {memory:.1f} GiB", flush=True)
        return graph.replay
