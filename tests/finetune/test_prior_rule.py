"""Runs that begin as a rule: the limit, the rate, and what pretrained heads have to do with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import CheckpointError, DataError, SettingsError
from hilum.core.files import read_json
from hilum.core.settings import validate
from hilum.datasets.splits import Split
from hilum.datasets.store.case_store import CaseStore
from hilum.encoders.networks import classes_of
from hilum.finetune.prior_limit import with_limit
from hilum.finetune.ready import parts_of
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings
from hilum.finetune.transfer.load import transfer
from hilum.finetune.transfer.rates import default_rate
from hilum.finetune.transfer.settings import TransferSettings
from hilum.segmenter.baseline.limits import best_limit
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.inference.predict_case import predict_mask
from hilum.segmenter.segmenter import Segmenter

from .transfer.test_networks import network

Make = Callable[..., SegmenterConfig]


def settings(store: CaseStore, **changes: Any) -> FinetuneSettings:
    trainer = {"steps": 2, "batch_size": 1, "validate_every": 1, "precision": "32"}
    values = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "patch": (8, 12, 16),
        "split": {"labels": 2, "validation": 1},
        "trainer": trainer | {"tracking": {"mode": "disabled"}},
        "inference": {"overlap": 0, "window": (16, 24, 32)},
        "pictures": 0,
        "evaluate_test": False,
        "prior_rule": {},
    }
    return validate(FinetuneSettings, values | changes)


def test_a_run_begins_as_the_limit_that_its_training_patients_choose(
    store: CaseStore, tmp_path: Path
) -> None:
    module, data = parts_of(settings(store))
    limit, _, _ = best_limit(store, data.ids)
    case = store["case_4"]
    mask = predict_mask(module.segmenter, case, precision="32")
    np.testing.assert_array_equal(mask, np.asarray(case.images[1], np.float32) > limit)
    lines: list[str] = []
    folder = finetune(settings(store), tmp_path / "run", say=lines.append)
    (told,) = (line for line in lines if "prior_rule begins" in line)
    assert f"SUV above {limit:g}" in told
    assert "2 training patients" in told
    assert any("transfer.rate is 0.2" in line and "rule" in line for line in lines)
    saved = read_json(folder / "config.json")["prior_rule"]
    assert saved["limit"] == limit
    again = Segmenter.from_pretrained(folder)
    assert again.rule is not None
    assert again.rule.limit.item() != pytest.approx(np.log1p(limit), abs=1e-9), "it was trained"


def test_a_limit_needs_a_patient_to_choose_it(store: CaseStore, config: Make) -> None:
    split = Split(pool=(), train=("case_5",), validation=("case_0",), test=())
    with pytest.raises(DataError, match="limit to an SUV"):
        with_limit(config(prior_rule={}), store, split)
    fixed = config(prior_rule={"limit": 2})
    assert with_limit(fixed, store, split) == (fixed, [])


@pytest.mark.parametrize(
    ("patients", "whole", "factor"), [(1, False, 0.2), (4, False, 0.2), (5, False, 1.0)]
)
def test_a_rule_is_corrected_gently_with_few_patients(
    patients: int, whole: bool, factor: float
) -> None:
    assert default_rate(patients, whole, rule=True).factor == factor


def rates(parts: str) -> TransferSettings:
    return validate(TransferSettings, {"parts": parts})


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand((1, 2, 8, 12, 16), generator=generator) * 2, torch.ones(
        1, 2, dtype=torch.bool
    )


def test_heads_of_a_network_wait_at_zero_or_are_added_to_the_rule(
    config: Make, tmp_path: Path
) -> None:
    network(tmp_path / "n", classes_of("node"))
    rule = {"limit": 3.0}
    begins = Segmenter(config(prior_rule=rule)).eval()
    report = transfer(begins, tmp_path / "n", rates("auto"))
    assert all("prior_rule" in why for why in report.decoders["decoder"].missing.values())
    assert report.decoders["decoder"].loaded, "the decoder's body is taken"
    alone = Segmenter(config(prior_rule=rule)).eval()
    assert_close(begins(*inputs())[0], alone(*inputs())[0])
    whole = Segmenter(config()).eval()
    transfer(whole, tmp_path / "n", rates("whole"))
    added = Segmenter(config(prior_rule=rule)).eval()
    report = transfer(added, tmp_path / "n", rates("whole"))
    assert any("added" in note for note in report.notes)
    assert_close(added(*inputs())[0], whole(*inputs())[0] + alone(*inputs())[0])


def test_a_segmenter_that_began_as_a_rule_goes_on_with_it(
    config: Make, store: CaseStore, tmp_path: Path
) -> None:
    old = Segmenter(config(prior_rule={"limit": 3.0, "slope": 2.0})).eval()
    with torch.no_grad():
        for parameter in old.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    folder = old.save(tmp_path / "old")
    module, _ = parts_of(settings(store, prior_rule=None, encoder=None, init_from=str(folder)))
    assert_close(module.segmenter.eval()(*inputs())[0], old(*inputs())[0])
    plain = Segmenter(config()).eval()
    report = transfer(plain, folder, rates("auto"))
    assert all("correct a rule" in why for why in report.decoders["decoder"].missing.values())
    with pytest.raises(CheckpointError, match="carried over only with it"):
        transfer(Segmenter(config()), folder, rates("whole"))
    # Without its heads there is nothing that the rule must go with.
    body = {"prior_rule": None, "encoder": None, "init_from": str(folder)}
    body["transfer"] = {"parts": "encoder+decoder"}
    assert parts_of(settings(store, **body))[0].segmenter.rule is None


def test_a_new_class_has_the_rule_of_its_own_start(config: Make, tmp_path: Path) -> None:
    old = Segmenter(config(prior_rule={"limit": 3.0}))
    assert old.rule is not None
    with torch.no_grad():
        old.rule.limit.fill_(1.7)
    folder = old.save(tmp_path / "old")
    new = Segmenter(
        config(classes=3, names=("tumour", "node"), prior_rule={"limit": 2.0, "learned": False})
    )
    transfer(new, folder, rates("auto"))
    assert new.rule is not None
    assert_close(new.rule.limit, torch.tensor([np.log1p(2.0), 1.7]).float())


def test_a_rule_of_what_the_run_lacks_is_refused_before_the_folder_is_made(
    store: CaseStore, tmp_path: Path
) -> None:
    asked = settings(store, modalities=("ct",), prior_rule={"limit": 2.0})
    with pytest.raises(SettingsError, match="modality in SUV"):
        finetune(asked, tmp_path / "run", say=lambda text: None)
    assert not (tmp_path / "run").exists()
