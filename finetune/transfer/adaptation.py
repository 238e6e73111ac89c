"""How a segmenter adapts what is pretrained: what trains, when, at which rate, what pulls back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

from hilum.core.seeds import derive
from hilum.segmenter.adapters import add_adapters
from hilum.segmenter.layer_groups import decayed_rates, layers_of
from hilum.segmenter.segmenter import Segmenter

from ..settings import FinetuneSettings
from .partial import but_norms_and_biases, last_layers
from .rates import factor_at, sawtooth_at

Parts = dict[str, tuple[nn.Module | Sequence[nn.Parameter], float]]


class Adaptation:
    """Prepares a segmenter for one method of `TransferSettings`, and keeps to it. Final.

    Args:
        segmenter: Its encoders are filled; `adapters` and `probe` change it in place.
        settings: Of the run, its `transfer.rate` resolved (1 if empty).
        taken: Addresses of the decoders that are pretrained, too.

    Attributes:
        thawing: Step at which the encoders begin to train.
    """

    def __init__(
        self, segmenter: Segmenter, settings: FinetuneSettings, taken: Collection[str] = ()
    ) -> None:
        self.segmenter, self.settings = segmenter, settings
        self.transfer = transfer = settings.transfer
        self.taken = [part for name, part in segmenter.decoders.items() if name in taken]
        self.thawing = round(transfer.decoder_first * settings.trainer.steps)
        # A pull needs no copy of weights that cannot move, nor of an adapter, which starts at 0.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(settings.seed, transfer.method))
            self._prepare()
        encoders = segmenter.strategy.encoders
        self.trained = [p for p in encoders.parameters() if p.requires_grad]
        self._statistics = [part for part in encoders.modules() if _keeps_statistics(part)]
        self._pulled = self._pretrained() if transfer.pull else []
        self._start = [p.detach().clone() for p in self._pulled]

    def began_with(self, steps: int) -> None:
        """Let the encoders begin where they did in a run of so many steps, which is longer now."""
        self.thawing = round(self.transfer.decoder_first * steps)

    def parts(self) -> Parts:
        """Return what trains, by the name of its learning rate, with its factor on the rate.

        Encoders are one part; with layer-wise decay one part per layer, `encoder.00` shallowest.
        """
        rate = self.transfer.rate or 1.0
        factor = rate * self.transfer.encoder_rate
        parts: Parts = {}
        if self.transfer.layer_decay == 1:
            parts["encoder"] = (self.segmenter.strategy.encoders, factor)
        else:
            # Encoders of several modalities are built alike: a layer has one rate in all of them.
            own = [
                layers_of(e, self.segmenter.config.patch) for e in self.segmenter.encoders.values()
            ]
            deepest = max(map(len, own))
            for depth, decay in enumerate(decayed_rates(deepest, self.transfer.layer_decay)):
                rows = [layers[depth] for layers in own if depth < len(layers)]
                parts[f"encoder.{depth:02d}"] = ([p for row in rows for p in row], factor * decay)
        parts["decoder"] = (self.segmenter, rate)
        return parts

    def course(self, part: str) -> Callable[[int], float]:
        """Return the factor on the learning rate of a part of `parts`, as a function of the step.

        A function of names and numbers alone, so that nothing large is kept with a checkpoint.
        """
        late, trainer, first = part.startswith("encoder"), self.settings.trainer, self.thawing
        if self.transfer.sawtooth:
            return lambda step: sawtooth_at(step, first, late, trainer)
        return lambda step: factor_at(step, first if late else 0, trainer)

    def decays(self, part: str) -> bool:
        """Return whether a part has weight decay: what is pulled back has none."""
        return not (self.transfer.pull and (part.startswith("encoder") or bool(self.taken)))

    def hold(self, step: int) -> None:
        """Keep still what must not move in this step; call it before every training step.

        A frozen encoder is in evaluation mode: no running statistic moves and nothing drops out.
        Next to adapters only layers with running statistics are.
        """
        if self.transfer.method in ("full", "first_layers", "norms") and not self.thawing:
            return
        frozen = self.transfer.method in ("frozen", "probe") or step < self.thawing
        for parameter in self.trained:
            parameter.requires_grad_(not frozen)
        self.segmenter.strategy.encoders.train(not frozen)
        if self.transfer.method == "adapters":
            for part in self._statistics:
                part.eval()

    def pull(self) -> Tensor | None:
        r"""Return $\frac{\alpha}{2} \sum (w - w_0)^2$ over what is pretrained, else `None`.

        Encoders, and the decoders that were carried over without their heads.

        Source:
            Li et al., "Explicit Inductive Bias for Transfer Learning" (L2-SP), ICML 2018,
            arXiv:1802.01483, equation 2.
        """
        if not self._start:
            return None
        self._start = [w.to(p.device) for w, p in zip(self._start, self._pulled, strict=True)]
        return distance(self._pulled, self._start) * (self.transfer.pull / 2)

    def _pretrained(self) -> list[nn.Parameter]:
        """Return what trains and is pretrained; heads may be new in part."""
        heads = {id(p) for d in self.taken for level in d.head_rows() for p in level.values()}
        own = [p for d in self.taken for p in d.parameters() if id(p) not in heads]
        return [*self.trained, *(p for p in own if p.requires_grad)]

    def _prepare(self) -> None:
        encoders, method = self.segmenter.strategy.encoders, self.transfer.method
        sides = self.segmenter.config.patch
        if method == "probe":
            self.segmenter.use_linear_decoder()
            self.segmenter.requires_grad_(False)
            for decoder in self.segmenter.decoders.values():
                decoder.requires_grad_(True)
        elif method == "frozen":
            encoders.requires_grad_(False)
        elif method == "first_layers":
            for parameter in last_layers(
                self.segmenter.encoders.values(), sides, self.transfer.layers
            ):
                parameter.requires_grad_(False)
        elif method == "norms":
            heads = {id(p) for d in self.taken for level in d.head_rows() for p in level.values()}
            for module in (encoders, *self.taken):
                for parameter in but_norms_and_biases(module):
                    parameter.requires_grad_(id(parameter) in heads)
        elif method == "adapters":
            inputs = [
                (encoder, torch.zeros((1, encoder.in_channels, *sides)))
                for encoder in self.segmenter.encoders.values()
            ]
            add_adapters(encoders, inputs, self.transfer.rank, self.transfer.alpha)


def distance(weights: Sequence[Tensor], start: Sequence[Tensor]) -> Tensor:
    """Return the sum of squared differences, in float32."""
    squares = [(w.float() - s.float()).square().sum() for w, s in zip(weights, start, strict=True)]
    return torch.stack(squares).sum()


def _keeps_statistics(part: nn.Module) -> bool:
    return getattr(part, "running_mean", None) is not None
