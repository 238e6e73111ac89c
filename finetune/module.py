"""Fine-tuning as Lightning sees it: one step, one validation, two learning rates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from hilum.core.errors import DataError
from hilum.core.registry import build
from hilum.core.seeds import torch_generator
from hilum.datasets.augmentation.paired import PairedAugmentation
from hilum.datasets.batch import Batch
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.organs import split_organs
from hilum.evaluation.charts.pictures import case_picture
from hilum.losses import LOSSES
from hilum.losses.base import Maps
from hilum.segmenter.inference.predict_case import predict_case
from hilum.segmenter.operating.apply import decide
from hilum.segmenter.operating.point import ARGMAX
from hilum.segmenter.operating.probability import probability_of
from hilum.segmenter.organ_head import folded, organ_loss
from hilum.segmenter.segmenter import Segmenter
from hilum.training.interval_means import log_terms
from hilum.training.optimisation import LightningOptimiser, adamw, parameter_groups
from hilum.training.time_limit import place
from hilum.training.tracking import log_pictures

from .modality_dropout import chance, hide, lesson
from .semi_supervised.mean_teacher import MeanTeacher
from .settings import FinetuneSettings
from .synthetic_nodes import NodePasting
from .targets import LabelTargets
from .transfer.adaptation import Adaptation
from .unannotated import marginal, never
from .voxel_counts import VoxelCounts


class FinetuneModule(pl.LightningModule):
    """Has a segmenter and trains it. Final.

    Validation logs `val/dice`: the mean over the validation cases of the Dice of each, which is
    the mean over its classes, `val/dice_class<n>` where there are several, and `val/patients`, the
    patients that it is the mean of: they choose the weights. Empty masks count
    as `evaluation.metrics.empty` says: two count 1, and a case of which nothing is known counts
    nowhere.

    Args:
        segmenter: To be trained.
        settings: Of the run.
        store: Holds the cases.
        folder: Run folder; pictures go to its folder `pictures`.
        taken: Addresses of the decoders that are pretrained, too.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        settings: FinetuneSettings,
        store: CaseStore,
        folder: Path,
        taken: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.segmenter, self.settings, self.store, self.folder = segmenter, settings, store, folder
        self.augmentation = PairedAugmentation(
            segmenter.modalities,
            settings.patch,
            segmenter.config.spacing,
            settings.augmentation,
            segmenter.config.zscored,
        )
        self.targets = LabelTargets(segmenter.config.overlapping)
        self.criterion = build(LOSSES, settings.loss, spacing=segmenter.config.spacing)
        self.adaptation = Adaptation(segmenter, settings, taken)
        self.teacher = (
            MeanTeacher(segmenter, settings.teacher, settings.augmentation, settings.patch)
            if settings.teacher.weight
            else None
        )
        self.pasting = (
            NodePasting(
                settings.synthetic,
                segmenter.modalities,
                segmenter.config.spacing,
                settings.patch,
                segmenter.classes,
                segmenter.config.zscored,
            )
            if settings.synthetic.on
            else None
        )
        self._taught = 0
        self._organs = torch.empty(0)
        self._counts = VoxelCounts(segmenter.classes, segmenter.config.overlapping)

    def began_with(self, steps: int) -> None:
        """Keep the phases of a run that began with so many steps."""
        self.adaptation.began_with(steps)

    def networks(self) -> tuple[nn.Module, ...]:
        """Return what takes the time of a step."""
        return (self.segmenter.strategy,)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Augment, predict, and return the loss."""
        unlabelled = cast(Mapping[str, Any], batch).get("unlabelled")
        batch = self._pasted(self.augmentation(batch), unlabelled, batch_idx)
        loss, terms = self._loss(batch, batch_idx)
        named = {f"train/{name}": value for name, value in terms.items()}
        pull = self.adaptation.pull()
        if pull is not None:
            loss, named["train/pull"] = loss + pull, pull.detach()
        if self.teacher is not None and unlabelled is not None:
            progress = self._place() / self.settings.trainer.steps
            apart = self.teacher.loss(self.segmenter, unlabelled, progress)
            loss, named["train/consistency"] = loss + apart, apart.detach()
        log_terms(self, named)
        return loss

    def _pasted(self, batch: Batch, unlabelled: Batch | None, batch_idx: int) -> Batch:
        """Return an augmented batch with the nodes that the settings want in it."""
        if self.pasting is None:
            return batch
        replay = self.settings.synthetic.replay
        more = None if unlabelled is None or not replay else self.augmentation(unlabelled)
        rank = [self.global_rank] if self.global_rank else []
        step, device = int(self.trainer.global_step), str(batch["image"].device)
        generator = torch_generator(
            self.settings.seed, "synthetic", step, batch_idx, *rank, device=device
        )
        return self.pasting(batch, more, generator)

    def _loss(self, batch: Batch, batch_idx: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of an augmented batch, with modalities hidden as the schedule says."""
        if self.segmenter.config.organs:
            label, self._organs = split_organs(
                cast(Tensor, batch.get("label")), self.segmenter.classes
            )
            batch["label"] = label
        rule, available = self.settings.missing, batch["available"]
        step = int(self.trainer.global_step) if rule.dropout else 0
        p = chance(rule, self._place() if rule.dropout else 0, self.settings.trainer.steps)
        kept = available
        if p:
            rank = [self.global_rank] if self.global_rank else []
            generator = torch_generator(self.settings.seed, "missing", step, batch_idx, *rank)
            kept = hide(available, p, generator)
        if not p or not rule.distillation:
            return self._supervised(batch, kept)[1:]
        full, loss, terms = self._supervised(batch, available)
        partial, less, _ = self._supervised(batch, kept)
        label = cast(Tensor, batch.get("label"))
        taught = lesson(full, partial, label, rule.temperature)
        terms = terms | {"subset_loss": less.detach(), "lesson": taught.detach()}
        return (loss + less) / 2 + rule.distillation * taught, terms

    def _supervised(
        self, batch: Batch, available: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the finest logits, the loss with what the strategy adds to it, and its terms."""
        every = self.segmenter(batch["image"], available, organs=True)
        logits = [folded(level, self.segmenter.classes) for level in every]
        annotated = batch.get("annotated")
        if annotated is not None and self.segmenter.config.regions:
            known = self.targets.known(annotated)
            logits = [never(level, known) for level in logits]
        elif annotated is not None:
            logits = [marginal(level, annotated) for level in logits]
        made = batch.get("maps")
        maps = None if made is None else Maps(made, batch.get("parts", 0))
        label, targets = cast(Tensor, batch.get("label")), self.targets(batch)
        loss, terms = self.criterion(logits, label, maps, targets)
        if self.segmenter.config.organs:
            apart = organ_loss(every, self._organs)
            loss = loss + self.settings.organs.weight * apart
            terms["organ_loss"] = apart.detach()
        for name, penalty in self.segmenter.strategy.penalty().items():
            loss, terms[name] = loss + penalty, penalty.detach()
        return logits[0], loss, terms

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Keep still what the method, or the first phase, does not train."""
        self.adaptation.hold(self._place())

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Let the teacher follow an optimiser step."""
        step = int(self.trainer.global_step)
        if self.teacher is not None and step != self._taught:
            self._taught = step
            self.teacher.follow(self.segmenter, step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the teacher."""
        if self.teacher is not None:
            checkpoint["teacher"] = self.teacher.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the teacher."""
        self._taught = int(checkpoint["global_step"])
        if self.teacher is not None:
            self.teacher.load_state_dict(checkpoint["teacher"])

    def _place(self) -> int:
        """Return the step that schedules are at."""
        if self.settings.trainer.minutes is None:
            return int(self.trainer.global_step)
        return place(self.trainer, self.settings.trainer)

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Count voxels of one case, or of a batch of patches."""
        if "image" in batch:
            self._count_patches(cast(Batch, batch))
        else:
            self._count_case(batch["case"][0], batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the mean Dice over cases, and that of each class.

        Raises:
            DataError: If nothing is known of any case: no weights could be chosen.
        """
        names, scores = self._counts.drain()
        if np.isnan(scores).all():
            raise DataError(
                "a validation case must have a node, or be known throughout",
                found=f"only unknown voxels and background in {', '.join(names[:3])}",
                remedy="validate on other cases",
            )
        known = ~np.isnan(scores)
        cases = known.any(1)
        own = np.where(known, scores, 0).sum(1)[cases] / known.sum(1)[cases]
        self.log("val/dice", float(own.mean()), prog_bar=True)
        rows = [self.store.rows.get(names[i], {}) for i in np.flatnonzero(cases)]
        chose = {row.get("patient", number) for number, row in enumerate(rows)}
        self.log("val/patients", float(len(chose)))
        if scores.shape[1] > 1:
            for value, (column, there) in enumerate(zip(scores.T, known.T, strict=True), 1):
                mean = float(column[there].mean()) if there.any() else float("nan")
                self.log(f"val/dice_class{value}", mean)

    def configure_optimizers(self) -> LightningOptimiser:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return AdamW with a rate for the encoders, or for each layer, and one for the rest."""
        trainer = self.settings.trainer
        groups = parameter_groups(
            self.adaptation.parts(), trainer.learning_rate, trainer.weight_decay
        )
        rates = [self.adaptation.course(str(group["name"])) for group in groups]
        for group in groups:
            if not self.adaptation.decays(str(group["name"])):
                group["weight_decay"] = 0.0
        optimiser = adamw(groups, trainer.learning_rate)
        schedule = LambdaLR(optimiser, rates)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _count_case(self, name: str, index: int) -> None:
        """Predict one whole case, and draw it if it is among the first."""
        case = self.store[name]
        probability = predict_case(
            self.segmenter,
            case,
            self.settings.inference,
            precision=self.settings.trainer.precision,
        )
        regions = self.segmenter.config.overlapping
        prediction = decide(probability[1:], ARGMAX, probability[0], regions)
        label = cast(np.ndarray, case.label)
        self._counts.add(name, prediction, np.asarray(label), case.annotated)
        if index < self.settings.pictures:
            file = self.folder / "pictures" / f"{name}-{self.trainer.global_step:06d}.png"
            volumes = {m: np.asarray(case.images[i]) for i, m in enumerate(case.modalities)}
            case_picture(file, volumes, case.grid, np.asarray(label), prediction)
            log_pictures(self.trainer, f"val/{name}", file)

    def _count_patches(self, batch: Batch) -> None:
        batch = self.augmentation(batch, augment=False)
        logits = self.segmenter(batch["image"], batch["available"])[0]
        labels = cast(Tensor, batch.get("label")).cpu().numpy()
        for name, ours, label in zip(batch["case"], self._decided(logits), labels, strict=True):
            self._counts.add(name, ours, label[0], self.store[name].annotated)

    def _decided(self, logits: Tensor) -> np.ndarray:
        """Return masks uint8 `[B, D, H, W]` at the default operating point."""
        regions = self.segmenter.config.overlapping
        if regions is None:
            return logits.argmax(1).byte().cpu().numpy()
        found = probability_of(logits.float(), overlapping=True).cpu().numpy()
        return np.stack([decide(one[1:], ARGMAX, one[0], regions) for one in found])
