"""Settings of the augmentation complete what is not given and refuse what makes no sense."""

from __future__ import annotations

import pytest

from hilum.core.errors import SettingsError
from hilum.core.settings import load
from hilum.datasets.augmentation.settings import AugmentationSettings


def test_defaults_survive_a_part_of_an_operation() -> None:
    settings = load(AugmentationSettings, overrides=["rotation.p=0.5", "misalign.pet=3"])
    assert settings.rotation.model_dump() == {"p": 0.5, "low": -30, "high": 30}
    assert settings.misalign == {"pet": 3}
    assert load(AugmentationSettings) == AugmentationSettings.model_validate({})
    spatial = AugmentationSettings.spatial()
    assert (spatial.rotation.p, spatial.blur.p, spatial.dropout) == (0.2, 0, 0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rotatoin.p=1", "did you mean 'rotation'"),
        ("rotation.pp=1", "did you mean 'p'|unknown setting"),
        ("rotation.p=1.5", "rotation.p"),
        ("rotation.low=40", "low must not exceed high"),
        ("scale.low=0", "scale.low must be above 0"),
        ("blur.low=-1", "blur.low must not be negative"),
        ("low_resolution.high=2", "low_resolution.high"),
        ("mirror=[0,0,2]", "mirror must hold probabilities"),
        ("dropout=1", "dropout"),
        ("reach=0.5", "reach"),
        ("misalign.pat=3", "did you mean 'pet'"),
        ("misalign.pet=-3", "misalign.pet must not be negative"),
    ],
)
def test_a_bad_setting_is_one_clear_error(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(AugmentationSettings, overrides=[override])
