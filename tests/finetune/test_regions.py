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

from hilum.core.errors import CheckpointError, SettingsError
from hilum.core.files import read_json
from hilum.core.seen import patient_hash
from hilum.core.settings import validate
from hilum.datasets.io.nifti import read_label, write_volume
from hilum.datasets.manifest import read_manifest, write_manifest
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.splits import make_split
from hilum.datasets.store.case_store import CaseStore, StoredCase
from hilum.evaluation.metrics.scores import score_case, summary
from hilum.exchange.weights_in.importing import import_weights
from hilum.finetune.ready import ready
from hilum.finetune.regions import regions_of
from hilum.finetune.run import finetune
from hilum.finetune.semi_supervised import mean_teacher
from hilum.finetune.semi_supervised.mean_teacher import disagreement
from hilum.finetune.semi_supervised.pseudo_labels import check_labeller, confident, pseudo_labelled
from hilum.finetune.settings import FinetuneSettings
from hilum.finetune.unannotated import never
from hilum.finetune.voxel_counts import VoxelCounts
from hilum.segmenter.assessment.prepared_cases import assess
from hilum.segmenter.baseline.limits import best_limit
from hilum.segmenter.config import read_segmenter_config
from hilum.segmenter.inference.predict_case import predict_case
from hilum.segmenter.operating.apply import mask_of
from hilum.segmenter.operating.regions import Regions
from hilum.segmenter.segmenter import Segmenter

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


def test_a_region_that_nobody_looked_for_teaches_nothing(nested: CaseStore) -> None:
    """Of the second patch only value 2 was drawn: its whole is unknown, its core is not."""
    module = ready(settings(nested)).module
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 3, (2, 1, 4, 4, 4), generator=generator).byte()
    label[1][label[1] == 1] = 0
    annotated = torch.tensor([[True, True, True], [True, False, True]])
    batch: Any = {"label": label, "annotated": annotated}
    known = module.targets.known(annotated)
    assert known.tolist() == [[True, True, True], [True, False, True]]
    raw = torch.randn(2, 3, 4, 4, 4, generator=generator, requires_grad=True)
    loss, terms = module.criterion([never(raw, known)], label, None, module.targets(batch))
    loss.backward()
    assert raw.grad is not None
    assert not raw.grad[1, 1].any()
    assert raw.grad[1, 2].any()
    assert raw.grad[0, 1].any()
    p = 1 / (1 + np.exp(-(raw[:, 1:] - raw[:, :1]).detach().double().numpy()))
    truth = np.stack([label[:, 0] > 0, label[:, 0] == 2], 1)
    surprise = -np.where(truth, np.log(p), np.log(1 - p))
    surprise[1, 0] = 0
    assert float(terms["cross_entropy"]) == pytest.approx(surprise.mean(), rel=1e-5)
    both = [(p[:1, 0], truth[:1, 0]), (p[:, 1], truth[:, 1])]
    dice = [2 * np.minimum(a, b).sum() / (a.sum() + b.sum()) for a, b in both]
    assert float(terms["dice_loss"]) == pytest.approx(1 - np.mean(dice), rel=1e-5)
    # A step of the run does so, too.
    sides = (2, 1, 8, 12, 16)
    step = {"image": torch.randn(2, 2, *sides[2:]), "label": torch.ones(sides).byte()}
    every = torch.ones(2, 2, dtype=torch.bool)
    made: Any = {**step, "annotated": annotated}
    said, _, _ = module._supervised(made, every)
    assert (said[1, 1] < said[1, 0] - 1e3).all()
    assert (said[0, 1] > said[0, 0] - 1e3).all()


def test_validation_counts_regions_that_a_label_says_all_of() -> None:
    counts = VoxelCounts(3, Regions.of(REGIONS))
    label = np.zeros((2, 2, 2), np.uint8)
    label[0] = 2
    counts.add("all", label, label)
    counts.add("some", label, label, (2,))
    names, scores = counts.drain()
    assert names == ["all", "some"]
    np.testing.assert_array_equal(scores, [[1, 1], [np.nan, 1]])


def froc_of(segmenter: Segmenter, case: StoredCase) -> dict[str, Any]:
    """Return the FROC of one case, of its foreground as a whole."""
    p = predict_case(segmenter, case, modalities=("ct",))
    point, regions = segmenter.config.operating_point, segmenter.config.overlapping
    mask = mask_of(p, case, point, ("ct",), regions) > 0
    found = score_case(case.id, 1 - p[0], np.asarray(case.label) > 0, case.grid, mask=mask)
    return summary({case.id: found}, {case.id: case.id})["froc"]  # pyright: ignore[reportReturnType]


def test_cases_of_some_values_train_and_are_measured_by_what_they_say(
    nested: CaseStore, tmp_path: Path
) -> None:
    """Case 1 trains and case 4 tests with their cores alone."""
    cases = []
    for case in read_manifest(nested.path.parent / "manifest.csv"):
        if case.id in ("case_1", "case_4"):
            assert case.label is not None
            volume = read_label(case.label, case.id)
            core = np.where(volume.array == 2, 2, 0).astype(np.uint8)
            file = write_volume(tmp_path / f"{case.id}.nii.gz", core, volume.grid)
            case = replace(case, label=file, annotated=(2,))
        cases.append(case)
    about = validate(PrepareSettings, {"spacing": (4, 4, 4), "modalities": ("ct", "pet")})
    store = prepare(write_manifest(tmp_path / "manifest.csv", cases), tmp_path / "store", about)
    begun = ready(settings(store))
    assert "case_1" in begun.split.train
    segmenter = begun.module.segmenter.eval()
    found = assess(segmenter, store, ["case_4", "case_5"], ["ct+pet"], tmp_path)["ct+pet"]
    whole, core = ({n: found[n][k] for n in found} for k in ("dice", "dice_class2"))
    assert np.isnan(whole["case_4"])
    assert not np.isnan(whole["case_5"])
    assert not np.isnan(core["case_4"])
    # Nobody can say what of all regions together is false in a case that says all of one.
    curve = read_json(tmp_path / "scores.json")["ct+pet"]["froc"]
    assert curve["false_positives"] == froc_of(segmenter, store["case_5"])["false_positives"]


def test_the_teacher_and_its_student_agree_region_by_region(nested: CaseStore) -> None:
    generator = torch.Generator().manual_seed(0)
    said, taught = (torch.randn(2, 3, 2, 3, 4, generator=generator) for _ in range(2))
    where = torch.rand(2, 1, 2, 3, 4, generator=generator) > 0.4
    each = [1 / (1 + np.exp(-(z[:, 1:] - z[:, :1]).numpy())) for z in (said, taught)]
    voxels = np.broadcast_to(where.numpy(), each[0].shape)
    expected = ((each[0] - each[1])[voxels] ** 2).mean()
    assert float(disagreement(said, taught, where, True)) == pytest.approx(expected, rel=1e-5)
    # A shift of all logits says the same of every region.
    assert float(disagreement(said, said + 5, where, True)) == pytest.approx(0, abs=1e-9)
    found = ready(settings(nested, teacher={"weight": 1}, split={"labels": 1, "validation": 1}))
    teacher, calls = found.module.teacher, []
    assert teacher is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mean_teacher, "disagreement", lambda *args: calls.append(args) or said.sum())
        strong = {"image": torch.randn(1, 2, 8, 12, 16), "available": torch.ones(1, 2).bool()}
        seen: Any = {**strong, "regions": torch.ones(1, 1, 8, 12, 16).int()}
        teacher.strong = teacher.weak = lambda batch: batch  # pyright: ignore[reportAttributeAccessIssue]
        teacher.loss(found.module.segmenter, seen, 1.0)
    assert calls[0][3] is True


def test_a_pseudo_label_is_sure_of_every_region() -> None:
    """Of whole and core: sure in both, in the whole alone, in none, unsure, and impossible."""
    regions = Regions.of(REGIONS)
    whole = np.array([0.95, 0.95, 0.05, 0.6, 0.95, 0.05, 0.9])
    core = np.array([0.95, 0.05, 0.05, 0.05, 0.5, 0.95, 0.08])
    p = np.stack([1 - np.maximum(whole, core), whole, core]).reshape(3, 7, 1, 1)
    label = confident(p.astype(np.float64), 0.9, regions)
    assert label.ravel().tolist() == [2, 1, 0, 255, 255, 255, 1]


def test_pseudo_labels_of_regions_are_written_and_other_labellers_refused(
    nested: CaseStore, tmp_path: Path
) -> None:
    own = ready(settings(nested)).module.segmenter
    with torch.no_grad():  # so that it is sure here and there
        for name, p in own.named_parameters():
            if "heads" in name:
                p.mul_(0).add_(torch.randn(p.shape)) if p.ndim == 1 else p.mul_(6)
    folder = own.save(tmp_path / "old")
    parts = {"labels": 1, "validation": 1}
    asked = settings(nested, pseudo={"segmenter": folder, "threshold": 0.7}, split=parts)
    split = make_split(nested, asked.split)
    made, grown = pseudo_labelled(nested, split, asked, tmp_path / "made")
    (name, *_) = set(grown.train) - set(split.train)
    found = predict_case(own.eval(), nested[name])
    sure_of = [(p >= 0.7, p <= 0.3) for p in found[1:]]
    expected = np.full(found.shape[1:], 255)
    (in_whole, off_whole), (in_core, off_core) = sure_of
    expected[off_whole & off_core], expected[in_whole & off_core] = 0, 1
    expected[in_whole & in_core] = 2
    np.testing.assert_array_equal(np.asarray(made[name].label), expected)
    assert len(np.unique(expected)) > 1
    plain = settings(nested, regions={}, pseudo={"segmenter": folder}, split=parts)
    with pytest.raises(CheckpointError, match="must have the regions of the store"):
        check_labeller(nested, split, plain)


def test_each_region_begins_as_the_rule(nested: CaseStore) -> None:
    segmenter = ready(settings(nested, prior_rule={"limit": 3})).module.segmenter.eval()
    case = nested["case_0"]
    suv = np.asarray(case.images[case.modalities.index("pet")], np.float32)
    found = predict_case(segmenter, case, precision="32")
    clear = np.abs(suv - 3) > 0.05
    for one in found[1:]:
        np.testing.assert_array_equal((one > 0.5)[clear], (suv > 3)[clear])
    odds = 4.5 * (np.log1p(suv) - np.log1p(3))
    np.testing.assert_allclose(found[1], 1 / (1 + np.exp(-odds)), atol=5e-3)
    # One limit for the union of what begins so: here all nodes, or their cores.
    for classes, values in (((), (1, 2)), (("core",), (2,))):
        asked = settings(nested, prior_rule={"limit": "auto", "classes": classes})
        module = ready(asked)
        rule = module.module.segmenter.config.prior_rule
        assert rule is not None
        assert rule.limit == best_limit(nested, module.split.train, values)[0]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"regions": {"a": (3,)}}, "made of the label's values, 1 to 2"),
        ({"regions": {"core": (2,), "whole": (1, 2)}}, "larger regions first"),
        ({"loss": {"name": "cc"}}, "loss.name=cc need.*choose dice_ce"),
        ({"fusion": {"name": "late_product"}}, "fusion.name=late_product need"),
        ({"names": ("a", "b")}, "names need.*leave out names"),
        ({"pseudo": {"keep": "old"}}, "pseudo.keep need"),
        ({"regions": {}, "regions_class_order": (1,)}, "regions_class_order needs regions"),
    ],
)
def test_what_takes_a_voxel_for_one_class_is_refused(
    changes: dict[str, Any], why: str, nested: CaseStore
) -> None:
    with pytest.raises(SettingsError, match=why):
        regions_of(settings(nested, **changes), nested)
