"""Auto3DSeg's SegResNet recipe as an arm of a comparison, written with MONAI's own building blocks.

The recipe is that of the algorithm template `segresnet` of Auto3DSeg
(github.com/Project-MONAI/research-contributions, auto3dseg/algorithm_templates/segresnet: the files
configs/hyper_parameters.yaml, scripts/algo.py and scripts/segmenter.py), for a CT with PET as an
extra modality. As there: SegResNetDS with instance norm, blocks 1, 2, 2, 4 down for four stages and
one each up; deep supervision with halving weights; Dice and cross-entropy with squared predictions,
background included; AdamW at 2e-4 with a decay of 1e-5, warmed up from a tenth and then falling
along a cosine; CT from the mean percentiles 0.5 and 99.5 of the nodes to -1 and 1 and through a
sigmoid, PET less its least value through its standard deviation and a sigmoid; as many crops of one
patient a step as a batch has, each centred on a class drawn in equal parts; affine maps, blur,
scale, shift, noise and flips as the template draws them; channels last; windows with Gaussian
weights; probabilities back on the original grid by linear interpolation, and the largest one.

Where it differs from the template:

- Stages, first width, patch, batch and spacing are those of the comparison; the template has five
  stages from 32 channels, patches of up to 224 x 224 x 144, and 1 mm for CT. Every image is brought
  to the spacing; the template leaves those within a quarter of it.
- The learning rate follows the share of the budget that is used, at each step; the template's the
  epochs, of which 3 of 416 (1250 over 3 crops) warm up. That share warms up here.
- The last weights predict. The template keeps the best by the Dice of validation patients, which
  would cost minutes. It also measures the Dice of every training batch; this does not.
- One model instead of the mean of five folds.
- The processor computes in float32, as the template does without CUDA.
- Windows overlap by half, as in the other arms, not by 0.625; several go through at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from arm import Setup, cases_of, evaluated, test_manifest, train
from monai.data.dataloader import DataLoader
from monai.data.dataset import CacheDataset
from monai.data.utils import decollate_batch, list_data_collate
from monai.inferers.inferer import SlidingWindowInferer
from monai.losses.dice import DiceCELoss
from monai.losses.ds_loss import DeepSupervisionLoss
from monai.networks.nets.segresnet_ds import SegResNetDS
from monai.transforms.compose import Compose
from monai.transforms.croppad.dictionary import RandCropByLabelClassesd, SpatialPadd
from monai.transforms.intensity.dictionary import (
    NormalizeIntensityd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    RandShiftIntensityd,
    ScaleIntensityRanged,
)
from monai.transforms.io.dictionary import LoadImaged
from monai.transforms.post.dictionary import Invertd
from monai.transforms.spatial.dictionary import (
    Orientationd,
    RandAffined,
    RandFlipd,
    ResampleToMatchd,
    Spacingd,
)
from monai.transforms.utility.dictionary import (
    CastToTyped,
    ClassesToIndicesd,
    ConcatItemsd,
    DeleteItemsd,
    EnsureTyped,
    Lambdad,
)

from hilum.core.case import Case
from hilum.core.files import read_json, write_json
from hilum.datasets.io.nifti import read_label, read_volume
from hilum.datasets.store.case_store import CaseStore

IMAGE, LABEL = "image", "label"
RATE, DECAY = 2e-4, 1e-5
WARM, FROM = 3 / 416, 0.1
BLOCKS = {5: (1, 2, 2, 4, 4), 4: (1, 2, 2, 4), 3: (1, 3, 4), 2: (2, 6), 1: (8,)}
OVERLAP = 0.5
LAST = torch.channels_last_3d


def segresnet(setup: Setup, folder: Path, split: dict[str, Any], seed: int) -> dict[str, Any]:
    """Train for the minutes, predict the test patients, evaluate."""
    done = folder / "steps.json"
    if not (folder / "evaluation" / "cases.csv").exists():
        store, cases = CaseStore(setup.store), cases_of(setup.manifest, split)
        torch.manual_seed(seed)
        labelled = [case for case in cases if case.id in split["train"]]
        load = loading(store, bounds(labelled, store.modalities[0]))
        network = SegResNetDS(
            init_filters=setup.plan.features[0],
            in_channels=len(store.modalities),
            out_channels=store.classes,
            norm=("INSTANCE", {"affine": True}),
            blocks_down=BLOCKS[len(setup.plan.features)],
            dsdepth=4,
        ).to(memory_format=LAST)
        took = _train(network, setup, load, labelled, store)
        _predict(
            network, setup, load, [c for c in cases if c.split == "test"], store, folder / "masks"
        )
        test_manifest(folder, cases)
        write_json(done, took)
        evaluated(folder)
    return read_json(done) | evaluated(folder)


def rate(share: float) -> float:
    """Return the learning rate when a share of the budget is used."""
    if share < WARM:
        return RATE * (FROM + (1 - FROM) * share / WARM)
    return RATE * 0.5 * (1 + math.cos(math.pi * (share - WARM) / (1 - WARM)))


def bounds(cases: Sequence[Case], modality: str) -> tuple[float, float]:
    """Return percentiles 0.5 and 99.5 of the labelled voxels, the mean over patients with any."""
    found = []
    for case in cases:
        assert case.label is not None
        inside = read_volume(case.volumes[modality]).array[read_label(case.label).array > 0]
        if len(inside):
            found.append(np.percentile(inside, (0.5, 99.5)))
    low, high = np.mean(found, axis=0)
    return float(low), float(high)


def loading(store: CaseStore, ct: tuple[float, float]) -> list[Any]:
    """Return what reads a patient, brings it to the store's spacing and normalises it."""
    first, *others = (_key(store, name) for name in store.modalities)
    names, spaced = [first, *others, LABEL], [first, LABEL]
    optional: dict[str, Any] = {"allow_missing_keys": True}
    chain: list[Any] = [
        LoadImaged(names, ensure_channel_first=True, image_only=True, **optional),
        EnsureTyped(names, dtype=torch.float32, **optional),
        Orientationd(spaced, axcodes="RAS", labels=None, **optional),
        Spacingd(spaced, store.spacing[::-1], mode=["bilinear", "nearest"], **optional),
        *(ResampleToMatchd(key, key_dst=IMAGE, dtype=np.float32) for key in others),
        CastToTyped(LABEL, dtype=torch.uint8, **optional),
    ]
    for modality in store.modalities:
        chain += normalising(modality, _key(store, modality), ct)
    if others:
        chain += [ConcatItemsd([first, *others], name=IMAGE), DeleteItemsd(others)]
    return chain


def normalising(modality: str, key: str, ct: tuple[float, float]) -> list[Any]:
    """Return what the template does to a modality's values."""
    if modality == "ct":
        return [ScaleIntensityRanged(key, *ct, -1, 1, clip=False), Lambdad(key, torch.sigmoid)]
    if modality == "pet":
        return [Lambdad(key, lambda x: torch.sigmoid((x - x.min()) / x.std()))]
    return [NormalizeIntensityd(key, nonzero=True, channel_wise=True)]


def augmenting(setup: Setup, classes: int) -> list[Any]:
    """Return what crops and changes a patient."""
    both, patch = [IMAGE, LABEL], setup.plan.patch[::-1]
    indices = f"{LABEL}_cls_indices"
    return [
        SpatialPadd(both, patch),
        ClassesToIndicesd(LABEL, num_classes=classes, max_samples_per_class=10 * 1250),
        RandCropByLabelClassesd(
            both,
            LABEL,
            patch,
            num_classes=classes,
            num_samples=setup.plan.batch,
            indices_key=indices,
            warn=False,
        ),
        RandAffined(
            both,
            prob=0.2,
            rotate_range=[0.26] * 3,
            scale_range=[0.2] * 3,
            mode=["bilinear", "nearest"],
            spatial_size=patch,
            cache_grid=True,
            padding_mode="border",
        ),
        RandGaussianSmoothd(IMAGE, (0.5, 1.0), (0.5, 1.0), (0.5, 1.0), prob=0.2),
        RandScaleIntensityd(IMAGE, 0.3, prob=0.5),
        RandShiftIntensityd(IMAGE, 0.1, prob=0.5),
        RandGaussianNoised(IMAGE, prob=0.2, mean=0.0, std=0.1),
        *(RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)),
    ]


def _train(
    network: SegResNetDS, setup: Setup, load: list[Any], cases: list[Case], store: CaseStore
) -> dict[str, Any]:
    """Train on crops of the cached patients until the budget is spent."""
    chain = Compose([*load, *augmenting(setup, store.classes)])
    data = CacheDataset([_files(store, c, True) for c in cases], chain, progress=False)
    loader = DataLoader(data, batch_size=1, shuffle=True, num_workers=0)
    loss_of = DeepSupervisionLoss(
        DiceCELoss(
            include_background=True,
            squared_pred=True,
            smooth_nr=0,
            smooth_dr=1e-5,
            softmax=True,
            to_onehot_y=True,
        )
    )
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    batches = iter(loader)
    network.train()

    def step(share: float) -> None:
        nonlocal batches
        batch = next(batches, None)
        if batch is None:
            batches = iter(loader)
            batch = next(batches)
        for group in optimiser.param_groups:
            group["lr"] = rate(share)
        image, label = (
            batch[key].as_subclass(torch.Tensor).to(memory_format=LAST) for key in (IMAGE, LABEL)
        )
        optimiser.zero_grad(set_to_none=True)
        loss_of(network(image), label).backward()
        optimiser.step()

    return train(step, setup.budget)


@torch.no_grad()
def _predict(
    network: SegResNetDS,
    setup: Setup,
    load: list[Any],
    cases: list[Case],
    store: CaseStore,
    out: Path,
) -> None:
    """Write the masks of patients on their original grids."""
    out.mkdir(parents=True, exist_ok=True)
    network.eval()
    chain = Compose(load)
    plan = setup.plan
    window = SlidingWindowInferer(plan.patch[::-1], plan.batch, OVERLAP, "gaussian")
    back = Invertd("pred", chain, orig_keys=IMAGE, nearest_interp=False)
    for case in cases:
        batch = list_data_collate([chain(_files(store, case, False))])
        image = batch[IMAGE].as_subclass(torch.Tensor).to(memory_format=LAST)
        logits = window(image, network)
        assert isinstance(logits, torch.Tensor)
        # A copy of the image's tensor class, since what undoes the chain reads its record.
        batch["pred"] = batch[IMAGE].new_empty(logits.shape).copy_(logits.softmax(1))
        for one in decollate_batch(batch):
            pred = back(one)["pred"]
            mask = pred.argmax(0).numpy().astype(np.uint8)
            nib.save(nib.Nifti1Image(mask, pred.affine.numpy()), out / f"{case.id}.nii.gz")


def _files(store: CaseStore, case: Case, label: bool) -> dict[str, str]:
    files = {_key(store, name): str(case.volumes[name]) for name in store.modalities}
    return files | ({LABEL: str(case.label)} if label else {})


def _key(store: CaseStore, modality: str) -> str:
    """Return the name of a modality in a batch: the first one's is that of all, at the end."""
    return IMAGE if modality == store.modalities[0] else modality
