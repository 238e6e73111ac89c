"""Loaders of the peers, with the augmentation that they ship or that their users are told of."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from cohort import DATASET, make_cohort, make_store, point_nnunet

from hilum.core.geometry import IntTriple
from hilum.datasets.store.case_store import CaseStore

Batches = Callable[[], object]
"""Makes the next batch."""


def nnunet_prepared(folder: Path) -> tuple[Path, object, dict]:
    """Fingerprint, plan and preprocess with nnU-Net's own code; return folder, plans, dataset.json.

    The plan is fixed to the spacing of our store, so that both loaders read the same voxels.
    """
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )

    number = int(DATASET[7:10])
    extract_fingerprints([number], num_processes=1, verbose=False)
    # The planner asks torch for as many threads as there are augmenting processes: not for none.
    with mock.patch.dict(os.environ, {"nnUNet_n_proc_DA": "1"}):
        plan_experiments([number], overwrite_target_spacing=(2.0, 2.0, 2.0))
    torch.set_num_threads(1)
    preprocess([number], configurations=("3d_fullres",), num_processes=(1,))
    return nnunet_read(folder)


def both_prepared(folder: Path) -> None:
    """Make the synthetic cohort, our store of it as `folder/store`, and nnU-Net's data."""
    point_nnunet(folder)
    make_store(make_cohort(folder), folder / "store")
    nnunet_prepared(folder)


def nnunet_read(folder: Path) -> tuple[Path, object, dict]:
    """Return folder, plans and dataset.json of what `nnunet_prepared` has made before."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    base = folder / "preprocessed" / DATASET
    about = json.loads((folder / "raw" / DATASET / "dataset.json").read_text())
    return base, PlansManager(str(base / "nnUNetPlans.json")), about


def nnunet_loader(
    base: Path, manager: object, about: dict, patch: IntTriple, *, augment: bool = True
) -> Batches:
    """Return nnU-Net's data loader in this process, batches of two, default augmentation."""
    from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    angle = (-30.0 / 360 * 2 * np.pi, 30.0 / 360 * 2 * np.pi)
    initial = get_patch_size(patch, angle, angle, angle, (0.85, 1.25)) if augment else patch
    chain = (
        nnUNetTrainer.get_training_transforms(patch, angle, None, (0, 1, 2), False)
        if augment
        else nnUNetTrainer.get_validation_transforms(None)
    )
    configuration = manager.get_configuration("3d_fullres")  # pyright: ignore[reportAttributeAccessIssue]
    data = nnUNetDatasetBlosc2(str(base / configuration.data_identifier))
    loader = nnUNetDataLoader(
        data,
        2,
        initial,
        patch,
        manager.get_label_manager(about),  # pyright: ignore[reportAttributeAccessIssue]
        oversample_foreground_percent=0.33,
        probabilistic_oversampling=True,
        transforms=chain,
    )
    return lambda: next(loader)


def monai_chain(patch: IntTriple) -> object:
    """Return MONAI transforms of the same kinds at nnU-Net's probabilities."""
    from monai import transforms as t

    keys = ["image", "label"]
    chain = t.Compose(
        [
            t.RandCropByPosNegLabeld(
                keys,
                "label",
                patch,
                pos=1,
                neg=2,
                fg_indices_key="label_fg_indices",
                bg_indices_key="label_bg_indices",
            ),
            t.DeleteItemsd(["label_fg_indices", "label_bg_indices"]),
            t.RandAffined(
                keys,
                prob=0.36,
                rotate_range=(0.5236,) * 3,
                scale_range=(0.3,) * 3,
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
            ),
            t.RandGaussianNoised("image", prob=0.1, std=0.1),
            t.RandGaussianSmoothd("image", prob=0.1, **dict.fromkeys(_SIGMAS, (0.5, 1.0))),
            t.RandScaleIntensityd("image", factors=0.25, prob=0.15),
            t.RandAdjustContrastd("image", prob=0.15, gamma=(0.75, 1.25)),
            t.RandSimulateLowResolutiond("image", prob=0.125, zoom_range=(0.5, 1.0)),
            t.RandAdjustContrastd("image", prob=0.1, gamma=(0.7, 1.5), invert_image=True),
            t.RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5), retain_stats=True),
            *(t.RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(3)),
        ]
    )
    chain.set_random_state(0)
    return chain


_SIGMAS = ("sigma_x", "sigma_y", "sigma_z")


def monai_loader(store: CaseStore, patch: IntTriple, cache: Path | None) -> Batches:
    """Return MONAI's dataset, from memory or (with `cache`) from its files, in batches of two."""
    from monai.data.dataset import CacheDataset, PersistentDataset
    from monai.data.utils import list_data_collate
    from monai.transforms import FgBgToIndicesd
    from monai.transforms.compose import Compose
    from monai.transforms.transform import Transform

    class Read(Transform):
        """Give the voxels of a prepared case on the network's scale, before anything random."""

        def __call__(self, name: str) -> dict[str, torch.Tensor]:
            case = store[name]
            image = torch.from_numpy(np.array(case.images, np.float32))
            label = torch.from_numpy(np.array(case.label))[None]
            return {"image": image / 200, "label": label}

    chain = monai_chain(patch)
    # Foreground is looked for once, and kept with what is cached.
    both = Compose([Read(), FgBgToIndicesd("label"), *chain.transforms])  # pyright: ignore[reportAttributeAccessIssue]
    names: Sequence[str] = store.ids
    data = (
        CacheDataset(names, both, progress=False)
        if cache is None
        else PersistentDataset(names, both, cache)
    )
    order = iter(np.random.default_rng(0).integers(0, len(names), 1_000_000))

    def batch() -> object:
        return list_data_collate([data[int(next(order))] for _ in range(2)])

    return batch


def nnssl_chain(patch: IntTriple) -> object:
    """Return what nnssl's BaseMAETrainer does to a patch: the same class with its arguments."""
    from batchgenerators.transforms.spatial_transforms import MirrorTransform, SpatialTransform

    angle = (-30.0 / 360 * 2 * np.pi, 30.0 / 360 * 2 * np.pi)
    turn = SpatialTransform(
        patch,
        None,  # pyright: ignore[reportArgumentType]
        False,
        (0, 0),
        (0, 0),
        True,
        angle,
        angle,
        angle,
        p_rot_per_axis=1,
        do_scale=True,
        scale=(0.7, 1.4),
        border_mode_data="constant",
        order_data=3,
        random_crop=False,
        p_el_per_sample=0,
        p_scale_per_sample=0.2,
        p_rot_per_sample=0.2,
        independent_scale_for_each_axis=False,
    )
    mirror = MirrorTransform((0, 1, 2))
    return lambda array: mirror(**turn(data=array))
