"""Optical coherence tomography: no absolute scale, dark but for a few layers."""

from __future__ import annotations

from hilum.core.modality import Modality

OCT = Modality("oct", "a.u.", 0, 3, "log", 0, (-1e6, 1e6), (0, 1))
