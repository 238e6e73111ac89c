"""How a segmenter adapts pretrained encoders: what trains, at which rate, and what pulls back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hilum.core.seeds import derive
from hilum.segmenter.adapters import add_adapters
from hilum.segmenter.layer_groups import decayed_rates, layers_of
from hilum.segmenter.segmenter import Segmenter

from ..settings import FinetuneSettings

PRETRAINED_RATE = 0.2
"""Learning rate of a pretrained encoder as a share of the decoder's."""

Parts = dict[str, tuple[nn.Module | Sequence[nn.Parameter], float]]


class Adaptation:
    """Prepares a segmenter for one method of `TransferSettings`, and keeps to it. Final.

    Args:
        segmenter: Its encoders are filled; `adapters` and `probe` change it in place.
        settings: Of the run.

    Attributes:
        thawing: Step at which the encoders begin to train.
    """

    def __init__(self, segmenter: Segmenter, settings: FinetuneSettings) -> None:
        self.segmenter, self.settings = segmenter, settings
        self.transfer = transfer = settings.transfer
        self.thawing = round(transfer.decoder_first * settings.trainer.steps)
        # A pull needs no copy of weights that cannot move, nor of an adapter, which starts at 0.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(settings.seed, transfer.method))
            self._prepare()
        encoders = segmenter.strategy.encoders
        self.trained = [p for p in encoders.parameters() if p.requires_grad]
        self._statistics = [part for part in encoders.modules() if _keeps_statistics(part)]
        self._start = [p.detach().clone() for p in self.trained] if transfer.pull else []

    def parts(self) -> Parts:
        """Return what trains, by the name of its learning rate, with its factor on the rate.

        Encoders are one part; with layer-wise decay one part per layer, `encoder.00` shallowest.
        """
        factor = encoder_rate(self.settings)
        parts: Parts = {}
        if self.transfer.layer_decay == 1:
            parts["encoder"] = (self.segmenter.strategy.encoders, factor)
        else:
            # Encoders of several modalities are built alike: a layer has one rate in all of them.
            own = [
                layers_of(e, self.segmenter.config.patch) for e in self.segmenter.encoders.values()
            ]
            deepest = max(map(len, own))
            for depth, rate in enumerate(decayed_rates(deepest, self.transfer.layer_decay)):
                rows = [layers[depth] for layers in own if depth < len(layers)]
                parts[f"encoder.{depth:02d}"] = ([p for row in rows for p in row], factor * rate)
        parts["decoder"] = (self.segmenter, 1.0)
        return parts

    def hold(self, step: int) -> None:
        """Keep still what must not move in this step; call it before every training step.

        A frozen encoder is in evaluation mode: no running statistic moves and nothing drops out.
        Beside adapters only layers with running statistics are.
        """
        if self.transfer.method == "full" and not self.thawing:
            return
        frozen = self.transfer.method in ("frozen", "probe") or step < self.thawing
        for parameter in self.trained:
            parameter.requires_grad_(not frozen)
        self.segmenter.strategy.encoders.train(not frozen)
        if self.transfer.method == "adapters":
            for part in self._statistics:
                part.eval()

    def pull(self) -> Tensor | None:
        r"""Return $\frac{\alpha}{2} \sum (w - w_0)^2$ over the encoders; `None` if not asked for.

        Source:
            Li et al., "Explicit Inductive Bias for Transfer Learning" (L2-SP), ICML 2018,
            arXiv:1802.01483, equation 2.
        """
        if not self._start:
            return None
        self._start = [w.to(p.device) for w, p in zip(self._start, self.trained, strict=True)]
        return distance(self.trained, self._start) * (self.transfer.pull / 2)

    def _prepare(self) -> None:
        encoders, method = self.segmenter.strategy.encoders, self.transfer.method
        if method == "probe":
            self.segmenter.use_linear_decoder()
            self.segmenter.requires_grad_(False)
            for decoder in self.segmenter.decoders.values():
                decoder.requires_grad_(True)
        elif method == "frozen":
            self.segmenter.strategy.encoders.requires_grad_(False)
        elif method == "adapters":
            sides = self.segmenter.config.patch
            inputs = [
                (encoder, torch.zeros((1, encoder.in_channels, *sides)))
                for encoder in self.segmenter.encoders.values()
            ]
            add_adapters(encoders, inputs, self.transfer.rank, self.transfer.alpha)


def distance(weights: Sequence[Tensor], start: Sequence[Tensor]) -> Tensor:
    """Return the sum of squared differences, in float32."""
    squares = [(w.float() - s.float()).square().sum() for w, s in zip(weights, start, strict=True)]
    return torch.stack(squares).sum()


def encoder_rate(settings: FinetuneSettings) -> float:
    """Return the factor on the encoders' learning rate."""
    chosen = settings.transfer.encoder_rate
    if chosen is None and settings.transfer.method == "adapters":
        return 1.0  # adapters are new, as the decoder is
    return chosen or (1.0 if settings.init_from is None else PRETRAINED_RATE)


def _keeps_statistics(part: nn.Module) -> bool:
    return getattr(part, "running_mean", None) is not None
