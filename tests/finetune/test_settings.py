"""The defaults are the few-label recipe, also where only a part of a group is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.core.errors import SettingsError
from hilum.core.settings import load, validate, write_yaml
from hilum.datasets.loading.settings import PatchSettings
from hilum.finetune.settings import TRAINER, FinetuneSettings


def test_a_part_of_the_trainer_keeps_the_rest_of_the_recipe() -> None:
    settings = load(FinetuneSettings, [], ["store=s", "trainer.steps=7", "trainer.ema=0"])
    assert settings.trainer.steps == 7
    assert settings.trainer.ema == 0
    assert settings.trainer.learning_rate == TRAINER["learning_rate"]
    assert load(FinetuneSettings, [], ["store=s"]).trainer.ema == TRAINER["ema"]


def test_resolved_settings_read_back_equal(tmp_path: Path) -> None:
    settings = load(FinetuneSettings, [], ["store=s", "fusion.name=late", "split.labels=2"])
    write_yaml(tmp_path / "config.yaml", settings)
    assert load(FinetuneSettings, [tmp_path / "config.yaml"]) == settings


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("split.labels=-1", "split.labels: .*greater than or equal to 0"),
        ("foregroud=1", "foregroud: unknown setting, did you mean 'foreground'"),
        ("trainer.step=1", "trainer.step: unknown setting, did you mean 'steps'"),
        ("transfer.parts=all", "transfer.parts: "),
        ("inference.overlap=1", "inference.overlap: .*less than 1"),
        ("prior=0.7", "prior: "),
        ("loss.dice=-1", "loss: dice must be at least 0"),
        ("robustness.shift=[5]", "robustness: shift: unknown setting, did you mean 'shifts'"),
    ],
)
def test_a_wrong_value_is_one_line(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load(FinetuneSettings, [], ["store=s", override])
    assert "\n" not in str(caught.value)


def test_shares_of_patches_are_no_more_than_all() -> None:
    with pytest.raises(SettingsError, match=r"set foreground=0\.6"):
        validate(FinetuneSettings, {"store": "s", "foreground": 0.67, "hard": 0.4})
    settings = validate(FinetuneSettings, {"store": "s", "foreground": 0.67, "hard": 0.33})
    assert PatchSettings(settings.patch, (), settings.foreground, settings.hard).hard == 0.33
