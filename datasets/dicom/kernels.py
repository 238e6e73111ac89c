"""Tell a soft from a sharp reconstruction of a CT by each vendor's names.

A sharp kernel (lung, bone) raises the noise of soft tissue several times: nodes are drawn on soft
ones. Names: Siemens B30f, Br40d, I70f (the number is the sharpness); Philips letters A to F, L, YA
to YE; GE words; Canon and Toshiba FC numbers; United Imaging and others words.
"""

from __future__ import annotations

import re
from typing import Literal

from .headers import Header

Sharpness = Literal["soft", "sharp", "unknown"]

_WORDS_SHARP = re.compile(
    r"bone|lung|edge|sharp|detail|\bultra\b|\bhr ?ct\b|\bhires\b|high res|osseous"
    r"|lunge|knochen|poumon|osseux|pulm[oó]n|hueso|\bos\b"
)
_WORDS_SOFT = re.compile(
    r"soft|standard|smooth|\bstd?n?d?\b|weichteil|mediastin|tissu|abdomen|\bbody\b|partes blandas"
)
_SIEMENS = re.compile(r"\b[a-z]{1,2}(\d\d)[a-z]?\b")
_SIEMENS_SHARP = 50
_PHILIPS = re.compile(r"\b(y[a-e]|[a-fl]|u[a-c]|e[bc])\b")
_PHILIPS_SOFT = ("a", "b", "c", "ua", "ub", "uc", "eb", "ec")
_CANON = re.compile(r"\bfc ?(\d\d)\b")
_CANON_SHARP = (3, 5, 8)
"""Tens of the FC numbers for bone, lung and high resolution."""


def sharpness(header: Header) -> Sharpness:
    """Return how sharp the kernel of a CT is, by the header, else by the description."""
    vendor, text = header["Manufacturer"].lower(), _plain(header["SeriesDescription"])
    kernel = _plain(header["ConvolutionKernel"])
    found = _of_kernel(vendor, kernel) if kernel else "unknown"
    # A description may name what the header's kernel leaves open, or the kernel of any vendor.
    return found if found != "unknown" else _of_text(text)


def shown_kernel(header: Header) -> str:
    """Return the kernel as the header writes it."""
    return header["ConvolutionKernel"].split("\\")[0] or "no kernel named"


def _of_kernel(vendor: str, kernel: str) -> Sharpness:
    canon, philips = _CANON.search(kernel), _PHILIPS.search(kernel)
    if canon:
        return "sharp" if int(canon[1]) // 10 in _CANON_SHARP else "soft"
    if "philips" in vendor and philips:
        return "soft" if philips[1] in _PHILIPS_SOFT else "sharp"
    siemens = _SIEMENS.search(kernel)
    if siemens:
        return "sharp" if int(siemens[1]) >= _SIEMENS_SHARP else "soft"
    return _of_words(kernel)


def _of_text(text: str) -> Sharpness:
    found = _of_words(text)
    if found == "sharp":
        return found
    canon, siemens = _CANON.search(text), re.search(r"\b[bhiq][a-z]?(\d\d)[a-z]?\b", text)
    if canon:
        return "sharp" if int(canon[1]) // 10 in _CANON_SHARP else "soft"
    if siemens:
        return "sharp" if int(siemens[1]) >= _SIEMENS_SHARP else "soft"
    return found


def _of_words(text: str) -> Sharpness:
    if _WORDS_SHARP.search(text):
        return "sharp"
    return "soft" if _WORDS_SOFT.search(text) else "unknown"


def _plain(text: str) -> str:
    return re.sub(r"[^a-zà-ÿ0-9+]+", " ", text.lower())
