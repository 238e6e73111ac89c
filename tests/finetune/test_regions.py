"""A run learns regions that overlap, measures each, and goes on from nnU-Net's heads of regions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.core.files import read_json
from hilum.core.seen import patient_hash
from hilum.core.settings import validate
from hilum.datasets.io.nifti import read_label, write_volume
from hilum.datasets.manifest import read_manifest, write_manifest
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.store.case_store import CaseStore
from hilum.exchange.weights_in.importing import import_weights
from hilum.finetune.ready import ready
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings
from hilum.segmenter.config import read_segmenter_config

from ..tiny_cohort import ENCODER

REGIONS = {"whole": (1, 2), "core": (2,)}


@pytest.fixture(scope="module")
def nested(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    """Return a store whose nodes have a core."""
    folder = tmp_path_factory.mktemp("nested")
    cases = []
    for case in read_manifest(manifest):
        assert case.label is not None
        volume = read_label(case.label, case.id)
        label = volume.array.astype(np.uint8)
        middle = np.argwhere(label).mean(0)
        index = np.stack(np.meshgrid(*map(np.arange, label.shape), indexing="ij"), -1)
        label[(label > 0) & (np.linalg.norm(index - middle, axis=-1) < 1.6)] = 2
        file = write_volume(folder / f"{case.id}.nii.gz", label, volume.grid)
        cases.append(replace(case, label=file))
    settings = validate(PrepareSettings, {"spacing": (4, 4, 4), "modalities": ("ct", "pet")})
    return prepare(write_manifest(folder / "manifest.csv", cases), folder / "store", settings)


def settings(store: CaseStore, **changes: Any) -> FinetuneSettings:
    values = {
        "store": store.path, "patch": (8, 12, 16), "encoder": ENCODER, "regions": REGIONS,
        "split": {"validation": 1}, "pictures": 0,
        "trainer": {"steps": 2, "batch_size": 2, "validate_every": 2},
    }  # fmt: skip
    return validate(FinetuneSettings, values | changes)


def test_a_step_is_compared_with_the_regions_of_the_label(nested: CaseStore) -> None:
    module = ready(settings(nested, foreground=1.0)).module
    label = torch.randint(0, 3, (2, 1, 8, 12, 16)).byte()
    batch: Any = {"label": label}
    logits = torch.randn(2, 3, 8, 12, 16)
    _, terms = module.criterion([logits], label, None, module.targets(batch))
    truth = torch.cat([label > 0, label == 2], 1).float()
    above = logits[:, 1:] - logits[:, :1]
    expected = nn.functional.binary_cross_entropy(above.sigmoid(), truth)
    assert float(terms["cross_entropy"]) == pytest.approx(float(expected), rel=1e-4)


def test_a_run_has_regions_from_training_to_its_test(nested: CaseStore, tmp_path: Path) -> None:
    folder = finetune(settings(nested), tmp_path / "run", say=lambda line: None)
    config = read_segmenter_config(folder)
    assert config.names == ("whole", "core")
    assert config.regions == REGIONS
    assert config.regions_class_order == (1, 2)
    # Whoever chose weights and operating point trained nothing, and is known for it.
    chose = read_json(tmp_path / "run" / "split.json")["validation"]
    assert config.chose is not None
    patients = {patient_hash(nested.row(name)["patient"]) for name in chose}
    assert set(config.chose.patients) == patients
    found = read_json(tmp_path / "run" / "test" / "metrics.json")["ct+pet"]
    volumes = next(iter(found.values()))["metrics"]
    label = np.asarray(nested[next(iter(found))].label)
    ml = nested[next(iter(found))].grid.voxel_ml
    assert volumes["reference_volume_ml"] == pytest.approx(np.count_nonzero(label) * ml)
    assert volumes["reference_volume_ml_class2"] == pytest.approx(np.count_nonzero(label == 2) * ml)
    again = ready(settings(nested, init_from=folder, transfer={"parts": "whole"}))
    assert any("whole" in line for line in map(str, again.lines()))


def test_heads_of_nnunet_regions_give_its_logits(nested: CaseStore, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = PlainConvUNet(
        2, 3, (4, 8, 12), nn.Conv3d, 3, ((1, 1, 1), (2, 2, 2), (2, 2, 2)), (2, 2, 2), 2, (2, 2),
        conv_bias=True, norm_op=nn.InstanceNorm3d, norm_op_kwargs={"affine": True, "eps": 1e-5},
        nonlin=nn.LeakyReLU, deep_supervision=False,
    )  # fmt: skip
    labels = {"background": 0, "whole": [1, 2], "core": 2}
    about = {"labels": labels, "channel_names": {"0": "CT", "1": "PET"}}
    args = {"plans": {"configurations": {}}, "configuration": "3d", "dataset_json": about}
    torch.save({"network_weights": network.state_dict(), "init_args": args}, tmp_path / "final.pth")
    import_weights(
        "nnunet", tmp_path / "final.pth", tmp_path / "net", modalities=["ct", "pet"], whole=True
    )
    changed = settings(
        nested, init_from=tmp_path / "net", encoder=None, transfer={"parts": "whole"}
    )
    segmenter = ready(changed).module.segmenter.eval()
    image = torch.randn(1, 2, 8, 12, 16)
    with torch.no_grad():
        logits = segmenter(image, torch.ones(1, 2, dtype=torch.bool))[0]
        theirs = network.eval()(image)
    assert_close(logits[:, 1:] - logits[:, :1], theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"regions": {"a": (3,)}}, "made of the label's values, 1 to 2"),
        ({"regions": {"core": (2,), "whole": (1, 2)}}, "larger regions first"),
        ({"loss": {"name": "cc"}}, "loss.name=cc need.*choose dice_ce"),
        ({"fusion": {"name": "late_product"}}, "fusion.name=late_product need"),
        ({"names": ("a", "b")}, "names need.*leave out names"),
        ({"prior_rule": {"limit": 3}}, "prior_rule need"),
        ({"regions": {}, "regions_class_order": (1,)}, "regions_class_order needs regions"),
    ],
)
def test_what_takes_a_voxel_for_one_class_is_refused(
    changes: dict[str, Any], why: str, nested: CaseStore
) -> None:
    with pytest.raises(SettingsError, match=why):
        ready(settings(nested, **changes))
