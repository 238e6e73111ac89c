"""Pasted nodes are where, as dense, as avid and as blurred as stated; decoys are no target."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from hilum.core.errors import CheckpointError, DataError, SettingsError
from hilum.core.files import write_json
from hilum.core.geometry import Grid
from hilum.core.modality import modality
from hilum.core.seeds import torch_generator
from hilum.core.settings import validate
from hilum.datasets.store.case_store import VERSION, CaseStore, PreparedCase, write_case
from hilum.datasets.store.foreground import nodes_of
from hilum.finetune.transfer.load import transfer
from hilum.finetune.transfer.settings import TransferSettings
from hilum.pretrain.base import PretextBatch
from hilum.pretrain.parts.node_looks import Looks
from hilum.pretrain.pool import cases
from hilum.pretrain.run import pretrain
from hilum.pretrain.settings import PretrainSettings
from hilum.pretrain.tasks.synthetic_nodes import SyntheticNodes
from hilum.segmenter.ensemble import load_predictor
from hilum.segmenter.segmenter import Segmenter
from hilum.segmenter.status import are_proposals

SIDES = (24, 28, 32)
SPACING = (4.0, 3.0, 3.0)
CT, PET = modality("ct"), modality("pet")
PLAIN: dict[str, Any] = {"misregistration_mm": 0, "hilum": 0, "necrosis": 0, "confluent": 0}


def task(made: Any, names: tuple[str, ...] = ("ct", "pet"), **params: Any) -> SyntheticNodes:
    encoder = made.encoder(channels=len(names))
    return SyntheticNodes(encoder=encoder, modalities=names, spacing=SPACING, **params).eval()


def patient() -> tuple[Tensor, Tensor, Tensor]:
    """Return CT, PET and body: fat around a muscle, lung below, bone at a side, air around."""
    ct = torch.full(SIDES, -100.0)
    ct[:, 10:18, 10:20] = 50
    ct[:6] = -700
    ct[:, 20:24, 20:26] = 600
    body = torch.zeros(SIDES, dtype=torch.bool)
    body[:, 2:-2, 2:-2] = True
    ct[~body] = -1000
    pet = torch.where(body, 1.0, 0.0)
    return ct, pet, body


def batch(
    have: Tensor | None = None, pet: Tensor | None = None, ct: Tensor | None = None, seed: int = 0
) -> PretextBatch:
    made_ct, made_pet, body = patient()
    both = [CT.encode(made_ct if ct is None else ct), PET.encode(made_pet if pet is None else pet)]
    have = torch.ones(3, 2, dtype=torch.bool) if have is None else have
    image = torch.stack(both).expand(len(have), -1, -1, -1, -1) * have[:, :, None, None, None]
    every = body.expand(len(have), 1, -1, -1, -1)
    return PretextBatch(image.clone(), have, every, torch_generator(seed, "paste"))


def test_density_and_uptake_are_the_formulas_on_the_grid(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looks(rows: int, count: int, *_: Any) -> Looks:
        zeros = torch.zeros(rows, count)
        return Looks(zeros + 0.5, zeros + 1.0, zeros > 0, zeros > 0, zeros)

    monkeypatch.setattr("hilum.pretrain.parts.node_pasting.draw_looks", looks)
    params = PLAIN | {"nodes": 1, "decoys": 0, "short_mm": (12, 12), "resolution_mm": (7, 7)}
    ct, pet, _ = patient()
    found = 0
    for seed in range(4):
        given = batch(seed=seed)
        pasted = task(made, **params).paste(given)
        for row in range(3):
            filled = pasted.share[row, 0]
            if not (filled == 1).any():
                continue
            found += 1
            # The soft tissue of this patch has 50 HU; half a deviation of 12 HU above.
            now = CT.decode(pasted.image[row, 0])
            seen = ct.clamp(-160, 240)
            assert_close(now, seen + filled * (56 - seen), atol=0.05, rtol=0)
            assert torch.equal(pasted.label[row, 0] == 1, filled >= 0.5)
            # SUV: 0.6 of 8, times the size to the 0.35, times exp(0.55); 1 around.
            level = 0.6 * 8 * 1.2**0.35 * np.exp(0.55)
            widths = [7 / 2.3548 / step for step in SPACING]
            local = ndimage.gaussian_filter(pet.numpy(), [6 / s for s in SPACING], mode="nearest")
            above = filled.numpy() * (level - local)
            expected = ndimage.gaussian_filter(above, widths, mode="constant")
            added = (PET.decode(pasted.image[row, 1]) - pet).numpy()
            assert added.max() > 2
            assert np.abs(added - expected).max() < 0.08 * expected.max()
            assert added.sum() == pytest.approx(expected.sum(), rel=0.05)
    assert found >= 4


def test_nodes_lie_in_fat_beside_soft_tissue_and_never_in_lung_bone_or_air(made: Any) -> None:
    ct, _, body = patient()
    soft = torch.tensor(ndimage.distance_transform_edt((ct != 50).numpy(), sampling=SPACING))
    count = 0
    for seed in range(6):
        params = PLAIN | {"nodes": 4, "decoys": 0, "short_mm": (4, 8)}
        pasted = task(made, **params).paste(batch(seed=seed))
        for filled in pasted.share[:, 0]:
            nodes, found = cast(Any, ndimage.label(filled.numpy() > 0.5))
            for middle in ndimage.center_of_mass(filled.numpy(), nodes, range(1, found + 1)):
                place = tuple(np.round(middle).astype(int))
                assert -150 < float(ct[place]) < 150
                assert body[place]
                assert float(soft[place]) < 15
                count += 1
    assert count > 20


def test_large_nodes_mould_around_bone_lung_and_skin(made: Any) -> None:
    ct, _, body = patient()
    hard = ((ct == 600) | (ct == -700) | ~body).numpy()
    # One voxel of the border may be of both.
    inner = torch.from_numpy(ndimage.binary_erosion(hard, border_value=1))
    filled = 0.0
    for seed in range(4):
        params = PLAIN | {"nodes": 4, "decoys": 0, "short_mm": (20, 30)}
        share = task(made, **params).paste(batch(seed=seed)).share[:, 0]
        filled += float(share.sum())
        assert (share[:, inner] == 0).all()
    assert filled > 500


def test_the_target_is_seen_in_both_and_decoys_are_no_target(made: Any) -> None:
    dense, avid = 0, 0
    for seed in range(4):
        given = batch(seed=seed)
        pasted = task(made, **PLAIN, nodes=3, decoys=3).paste(given)
        changed = pasted.image != given.image
        target = pasted.label[:, 0] == 1
        assert changed[:, 0][target].all()
        assert changed[:, 1][target].all()
        more = PET.decode(pasted.image[:, 1]) - PET.decode(given.image[:, 1])
        structure = (CT.decode(pasted.image[:, 0]) - CT.decode(given.image[:, 0])).abs() > 50
        alone = structure & (more < 0.05)
        uptake = (more > 1) & ~changed[:, 0]
        dense, avid = dense + int(alone.sum()), avid + int((uptake & ~target).sum())
        assert not target[alone].any()
        assert (pasted.label[:, 0][uptake] == 0).all(), "nothing was hot before: all is known"
        assert_close(pasted.image[~changed], given.image[~changed], rtol=0, atol=0)
    assert dense > 20
    assert avid > 20


def test_a_decoy_needs_both_modalities(made: Any) -> None:
    have = torch.tensor([[True, False], [False, True]])
    for seed in range(4):
        given = batch(have, seed=seed)
        pasted = task(made, **PLAIN, nodes=2, decoys=3).paste(given)
        assert (pasted.image[0, 1] == 0).all(), "an absent PET is not touched"
        assert (pasted.image[1, 0] == 0).all(), "an absent CT is not touched"
        changed = pasted.image != given.image
        assert not (changed[0, 0] & (pasted.share[0, 0] == 0)).any(), "no nodule without uptake"
        more = PET.decode(pasted.image[1, 1]) - PET.decode(given.image[1, 1])
        assert pasted.share[1, 0].sum() > 0 or more.abs().max() < 1e-3
        assert (pasted.label[0] != 255).all(), "without uptake nothing is unknown"


def test_real_foci_are_unknown_unless_covered_or_erased(made: Any) -> None:
    _, pet, _ = patient()
    pet[14:17, 12:15, 12:15] = 6
    hot = ndimage.binary_dilation((pet > 2.4).numpy(), np.ones((3, 3, 3)))
    params = PLAIN | {"nodes": 1, "short_mm": (4, 8)}
    pasted = task(made, **params, decoys=0).paste(batch(pet=pet))
    for row in range(3):
        label = pasted.label[row, 0].numpy()
        assert ((label == 255) == (hot & (label != 1))).all()
    erased = 0
    for seed in range(4):
        given = batch(pet=pet, seed=seed)
        pasted = task(made, **params, decoys=2).paste(given)
        label = pasted.label[:, 0]
        gone = torch.tensor(hot) & (label == 0)
        erased += int(gone.sum())
        unknown = label == 255
        assert not (unknown & ~torch.tensor(hot)).any()
        before, after = (PET.decode(b[:, 1]) for b in (given.image, pasted.image))
        was_hot = gone & (before > 2.4)
        if was_hot.any():
            assert float(after[was_hot].median()) < 4
    assert erased > 0


def test_unpasted_uptake_counts_as_background_with_its_weight(made: Any) -> None:
    _, pet, _ = patient()
    pet[14:17, 12:15, 12:15] = 6
    losses: dict[float, Tensor] = {}
    terms: dict[float, dict[str, Tensor]] = {}
    assert task(made).unpasted == 0.5, "as the recipes and the evidence have it"
    for weight in (0.0, 0.25):
        torch.manual_seed(0)
        one = task(made, **PLAIN, nodes=1, short_mm=(4, 8), unpasted=weight)
        with torch.no_grad():
            losses[weight], terms[weight] = one.loss(batch(pet=pet))
            pasted = one.paste(batch(pet=pet))
            odds = one.decoder(one.encoder(pasted.image))[0].double().softmax(1)[:, 0]
    unknown = (pasted.label == 255)[:, 0].numpy()
    slow = -float(np.log(odds.numpy()[unknown]).sum()) / float((~unknown).sum())
    assert unknown.sum() > 20
    assert float(terms[0.25]["unpasted"]) == pytest.approx(0.25 * slow, rel=1e-4)
    assert float(losses[0.25] - losses[0.0]) == pytest.approx(0.25 * slow, rel=1e-3)
    assert "unpasted" not in terms[0.0]


@pytest.mark.parametrize("value", [-700.0, 40.0, 800.0])
def test_a_patch_of_lung_organ_or_bone_alone_gets_no_node(made: Any, value: float) -> None:
    pasted = task(made, nodes=6, decoys=0).paste(batch(ct=torch.full(SIDES, value)))
    assert (pasted.share == 0).all()
    loss, _ = task(made).loss(batch(ct=torch.full(SIDES, value)))
    assert torch.isfinite(loss)


def test_the_same_generator_gives_the_same_and_another_another(made: Any) -> None:
    one, again, other = (task(made).paste(batch(seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(one.image, again.image)
    assert torch.equal(one.label, again.label)
    assert not torch.equal(one.image, other.image)


@pytest.mark.parametrize("names", [("ct",), ("pet",), ("ct", "mr_t1"), ("mr", "pet")])
def test_other_modalities_work_alike(made: Any, names: tuple[str, ...]) -> None:
    ct, pet, body = patient()
    given = {"ct": CT.encode(ct), "pet": PET.encode(pet)}
    mr = modality("mr").encode(torch.where(body, 0.5, 0.0))
    image = torch.stack([given.get(name, mr) for name in names])[None].repeat(4, 1, 1, 1, 1)
    have = torch.ones(4, len(names), dtype=torch.bool)
    every = body.expand(4, 1, -1, -1, -1)
    one = PretextBatch(image, have, every, torch_generator(1, "paste"))
    pasted = task(made, names).paste(one)
    assert (pasted.label == 1).any()
    changed = (pasted.image != image) & (pasted.label == 1)
    assert all(changed[:, c].any() for c in range(len(names)))
    assert torch.isfinite(pasted.image).all()


def test_a_step_reads_nothing_of_the_device(made: Any) -> None:
    """Tensors without values, as a device that nobody may wait for: a read would raise."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    one, pretext = batch(), task(made)
    with mode:
        fake = one._replace(
            image=mode.from_tensor(one.image),
            available=mode.from_tensor(one.available),
            body=mode.from_tensor(one.body.contiguous()),
        )
        pasted = pretext.paste(fake)
    assert pasted.image.shape == one.image.shape


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"nodes": 0}, "nodes: .*greater than or equal to 1"),
        ({"short_mm": (3, 7)}, "two voxels wide"),
        ({"short_mm": (9, 4)}, "short_mm must be two lengths"),
        ({"long_mm": 20}, "long axis"),
        ({"hilum": 0.7, "necrosis": 0.6}, "hilum and necrosis must be fractions"),
        ({"unknown": 0}, "unknown: .*greater than 0"),
        ({"unpasted": 1.5}, "unpasted must be a weight"),
        ({"spread_mm": -1}, "spread_mm: .*greater than or equal to 0"),
    ],
)
def test_wrong_parameters_are_named(made: Any, params: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        task(made, **params)


def test_a_patch_narrower_than_the_greatest_node_is_refused(made: Any) -> None:
    task(made).check_patch((8, 16, 16))
    with pytest.raises(SettingsError, match="wider than the greatest node"):
        task(made, short_mm=(4, 40)).check_patch((8, 16, 16))


def write_pool(folder: Path, ct: Tensor | None, body: Tensor) -> CaseStore:
    """Write a store of one case with PET, with or without CT."""
    volumes = {"pet": patient()[1]} if ct is None else {"ct": ct, "pet": patient()[1]}
    grid, bits = Grid.from_spacing(SIDES, SPACING), 2 ** (len(volumes) + 1) - 2
    case = PreparedCase(
        id="a",
        patient="a",
        site="",
        split="train",
        images=np.stack([one.numpy() for one in volumes.values()]).astype(np.float16),
        modalities=tuple(volumes),
        regions=(body.numpy() + bits).astype(np.uint8),
        label=None,
        grid=grid,
        source_grid=grid,
        factors=dict.fromkeys(volumes, 1.0),
        inputs={},
    )
    write_case(folder / "a", case, *nodes_of(np.zeros(SIDES, np.uint8), grid, "a"))
    row = {"id": "a", "patient": "a", "site": "", "split": "train", "modalities": list(volumes)}
    row |= {"labelled": False, "shape": SIDES}
    about = {"version": VERSION, "modalities": list(volumes), "spacing": SPACING, "classes": 1}
    write_json(folder / "store.json", about | {"fingerprint": "abc", "cases": [row]})
    return CaseStore(folder)


def test_a_pool_needs_a_place_for_a_node(made: Any, tmp_path: Path) -> None:
    ct, _, body = patient()
    alone = task(made, ("pet",))
    task(made).check_pool(write_pool(tmp_path / "both", ct, body), ["a"])
    alone.check_pool(write_pool(tmp_path / "pet", None, body), ["a"])
    lung = write_pool(tmp_path / "lung", torch.full(SIDES, -700.0), body)
    with pytest.raises(DataError, match="lung, bone or one tissue alone"):
        task(made).check_pool(lung, ["a"])
    nobody = torch.zeros_like(body)
    with pytest.raises(DataError, match="no body in 1 of 1 cases"):
        task(made).check_pool(write_pool(tmp_path / "no", ct, nobody), ["a"])
    with pytest.raises(DataError, match="no body"):
        alone.check_pool(write_pool(tmp_path / "none", None, nobody), ["a"])


def test_a_pool_without_pet_is_refused_and_one_without_pairs_is_noted(
    made: Any, tmp_path: Path
) -> None:
    ct, _, body = patient()
    pool = write_pool(tmp_path / "both", ct, body)
    assert task(made).pool_notes(pool, ["a"]) == []
    pool.rows["a"]["modalities"] = ["ct"]
    [note] = task(made).pool_notes(pool, ["a"])
    assert "1 of 1 cases" in note
    assert "no decoys" in note
    assert task(made, decoys=0).pool_notes(pool, ["a"]) == []
    settings = validate(
        PretrainSettings, {"store": pool.path, "patch": (8, 16, 16), "split": {"test": 0}}
    )
    with pytest.raises(DataError, match=r"a case of the pool must have pet.*leave it out"):
        cases(pool, settings, ("ct", "pet"))


def test_a_run_writes_a_network_that_fine_tuning_and_prediction_take(
    store: CaseStore, tmp_path: Path
) -> None:
    encoder = {"name": "resenc", "features": [4, 8], "blocks": [1, 1]}
    recipe = {"name": "synthetic_nodes", "short_mm": [4, 10], "long_mm": 20}
    settings = validate(
        PretrainSettings,
        {
            "store": store.path,
            "task": recipe,
            "encoder": encoder,
            "patch": (8, 16, 16),
            "trainer": {"steps": 2, "batch_size": 2},
        },
    )
    said: list[str] = []
    pretrain(settings, tmp_path / "run", say=said.append)
    assert any("get no decoys" in line for line in said), "one case of the pool has a CT alone"
    assert list((tmp_path / "run" / "pictures").glob("*.png"))
    model = load_predictor(tmp_path / "run")
    assert isinstance(model, Segmenter)
    assert are_proposals(model)
    # Fine-tuning takes the head along, because a pasted node is a node.
    config = model.config.model_copy(update={"extra": {}})
    fresh = Segmenter(config)
    how = validate(TransferSettings, {"parts": "whole"})
    transfer(fresh, tmp_path / "run" / "network", how)
    for name, value in model.state_dict().items():
        if "placeholder" not in name:
            assert_close(fresh.state_dict()[name], value, rtol=0, atol=0)
    assert not are_proposals(fresh)
    other = Segmenter(config.model_copy(update={"names": ("lesion",)}))
    with pytest.raises(CheckpointError, match="outputs mean the same"):
        transfer(other, tmp_path / "run" / "network", how)
    named = validate(TransferSettings, {"parts": "whole", "classes": {"lesion": "node"}})
    transfer(other, tmp_path / "run" / "network", named)
    heads = [n for n in other.state_dict() if "heads" in n]
    assert heads
    for name in heads:
        assert_close(other.state_dict()[name], model.state_dict()[name], rtol=0, atol=0)


def test_shuffled_pairs_show_the_uptake_of_another_patch(made: Any) -> None:
    given = batch()
    usual = task(made, **PLAIN, nodes=3).paste(given._replace(generator=torch_generator(0, "p")))
    control = task(made, **PLAIN, nodes=3, control="shuffled")
    assert control.least_batch == 2
    pasted = control.paste(given._replace(generator=torch_generator(0, "p")))
    assert_close(pasted.image[:, 0], usual.image[:, 0], rtol=0, atol=0)
    assert_close(pasted.image[:, 1], usual.image[:, 1].roll(1, 0), rtol=0, atol=0)
    assert torch.equal(pasted.label, usual.label)


def test_noise_has_the_places_of_nodes_and_not_their_looks(made: Any) -> None:
    params = PLAIN | {"nodes": 2, "decoys": 0, "short_mm": (12, 20)}
    spread = {}
    for control in ("none", "noise"):
        pasted = task(made, **params, control=control).paste(batch(seed=1))
        target = pasted.label[:, 0] == 1
        assert target.any()
        hu = CT.decode(pasted.image[:, 0])
        spread[control] = float((hu - CT.decode(batch().image[:, 0]))[target].std())
        assert pasted.image.isfinite().all()
    assert spread["noise"] > 60, "a quarter of a window of 400 HU"


def test_foreign_looks_have_rings_that_nodes_have_not(made: Any) -> None:
    params = PLAIN | {"nodes": 1, "decoys": 0, "short_mm": (24, 24), "long_mm": 24}
    values = {}
    for foreign in (False, True):
        pasted = task(made, **params, foreign=foreign).paste(batch(seed=2))
        inner = pasted.share[:, 0] == 1
        assert inner.any()
        hu = CT.decode(pasted.image[:, 0])
        values[foreign] = [
            float(row[where].std()) for row, where in zip(hu, inner, strict=True) if where.any()
        ]
    assert max(values[False]) < 25 < min(values[True])


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"control": "shufled"}, "control.*'none', 'shuffled' or 'noise'"),
        ({"family": "cube"}, "family.*'real', 'box' or 'spiculated'"),
    ],
)
def test_an_unknown_control_is_named(made: Any, params: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        task(made, **params)
