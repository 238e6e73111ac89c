"""Calling a segmenter with scans instead of tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hilum.datasets.io.nifti import Volume

from ..predictor import Predictor
from .patient import named_scans, segment


class ScanPredictor(Predictor):
    """A predictor that takes the scans of a patient, too."""

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Return what `forward` does of tensors, or segment the scans of a patient.

        `segmenter("ct.nii.gz", "pet.nii.gz")`, in the order of `modalities`, or by name as in
        `segmenter(pet=file)`, gives a `prediction.patient.Prediction`: mask, grid, node table. A
        scan is a file or a `datasets.io.nifti.Volume` (array in HU or SUV, with its grid).
        """
        if any(isinstance(one, str | Path | Volume) for one in (*inputs, *named.values())):
            return segment(self, named_scans(self.modalities, inputs, named))
        return super().__call__(*inputs, **named)
