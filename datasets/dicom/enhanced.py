"""Take a frame of an enhanced image for a slice of its own; read doubtful values in silence."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

_SHARED, _OWN = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
FRAME_TAGS = (_SHARED, _OWN)
_UNITS = {
    "bq/ml": ("BQML", ""),
    "{counts}": ("CNTS", ""),
    "g/ml": ("GML", ""),
    "{suvbw}g/ml": ("GML", "BW"),
    "{suvlbm}g/ml": ("GML", "LBM"),
    "{suvibw}g/ml": ("GML", "IBW"),
    "cm2/ml": ("CM2ML", ""),
    "{suvbsa}cm2/ml": ("CM2ML", "BSA"),
}
"""Unit and type of SUV of a classic PET for each unit in UCUM (PS3.16 CID 84), in lower case: a
litre may be written l or L."""


@contextmanager
def quiet() -> Iterator[None]:
    """Let pydicom read values that break their type's rules without a warning.

    Holds for the process with all its threads: what is wrong is judged tag by tag, and a header of
    a thousand slices would else warn a thousand times.
    """
    from pydicom import config

    mode = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.IGNORE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            config.settings.reading_validation_mode = mode


def frame_count(dataset: Dataset) -> int:
    """Return how many frames have a place of their own; 0 for an image that is one slice."""
    return len(dataset.get(_OWN) or [])


def frame_header(dataset: Dataset, frame: int) -> Dataset:
    """Return the header that a frame would have as a file of its own; the pixels are left out.

    The first item of each functional group is laid over the tags of the file, the shared groups
    first, then the frame's own (PS3.3 C.7.6.16.1). Legacy converted files keep all classic tags in
    such groups, so that their rescaling and SUV tags come out as they were.
    """
    from pydicom import Dataset

    flat = Dataset()
    flat.update({e.tag: e for e in dataset.elements() if e.tag.group < 0x7F00})
    flat.file_meta = getattr(dataset, "file_meta", Dataset())  # pyright: ignore[reportAttributeAccessIssue]
    for keyword, index in ((_SHARED, 0), (_OWN, frame)):
        groups = dataset.get(keyword) or []
        for element in groups[index] if index < len(groups) else []:
            if element.VR == "SQ" and element.value:
                flat.update({e.tag: e for e in element.value[0].elements()})
        flat.pop(keyword, None)
    if "TemporalPositionIndex" in flat:
        flat.TemporalPositionIdentifier = flat.TemporalPositionIndex
    flags = {"ATTN": "AttenuationCorrected", "DECY": "DecayCorrected"}
    made = [name for name, keyword in flags.items() if str(flat.get(keyword)) == "YES"]
    if made and not flat.get("CorrectedImage"):
        # An enhanced PET has a flag for each correction.
        flat.CorrectedImage = made
    if str(flat.get("Modality")) == "PT":
        _as_classic_pet(flat)
    return flat


def _as_classic_pet(flat: Dataset) -> None:
    """Add the tags of a classic PET that an enhanced one has in other words (PS3.3 C.8.22).

    The unit is that of the real world values, so that their slope and intercept count with it; the
    time that decay is corrected to is a tag of its own, whatever DecayCorrection would say.
    """
    codes = flat.get("MeasurementUnitsCodeSequence") or []
    unit = str(codes[0].get("CodeValue")).lower() if codes else ""
    if not flat.get("Units") and unit in _UNITS:
        flat.Units, kind = _UNITS[unit]
        if kind:
            flat.SUVType = kind
        slope = flat.get("RealWorldValueSlope")
        if slope not in (None, ""):
            flat.RescaleSlope = str(float(slope))[:16]
            flat.RescaleIntercept = str(float(flat.get("RealWorldValueIntercept") or 0))[:16]
    if flat.get("DecayCorrectionDateTime") and not flat.get("DecayCorrection"):
        flat.DecayCorrection = "START"
    if not flat.get("AcquisitionDateTime") and flat.get("FrameAcquisitionDateTime"):
        flat.AcquisitionDateTime = flat.FrameAcquisitionDateTime
