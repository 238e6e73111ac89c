"""What this machine can do, and what is wrong with it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path

PACKAGES = (
    "torch",
    "pytorch-lightning",
    "timm",
    "transformers",
    "monai",
    "nibabel",
    "numpy",
    "wandb",
)
OPTIONAL = {
    "pydicom": "dicom",
    "SimpleITK": "dicom",
    "highdicom": "dicom",
    "rt-utils": "dicom",
    "slicerio": "annotate",
    "pynrrd": "annotate",
    "onnxruntime": "export",
    "numba": "fast",
    "blosc2": "blosc2",
}
"""Packages that single commands need, and the extra that brings them."""
MALICIOUS = {"pytorch-lightning": {"2.6.2", "2.6.3"}}


def examine() -> tuple[list[str], bool]:
    """Return lines for a person, and whether nothing stands in the way."""
    problems: list[str] = []
    lines = [
        f"python       {platform.python_version()} on {platform.system()} {platform.machine()}"
    ]
    lines += [f"{name:<18} {_version(name, problems)}" for name in PACKAGES]
    lines += [f"{name:<18} {_optional(name, extra)}" for name, extra in OPTIONAL.items()]
    lines += [f"memory       {total / 2**30:.0f} GiB"] if (total := _memory()) else []
    lines += _hardware()
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    lines.append(f"disk         {free:.0f} GB free here")
    if free < 5:
        problems.append("less than 5 GB of disk is free here")
    lines.append(f"wandb        {_wandb()}")
    lines.append(f"slurm        {'sbatch found' if shutil.which('sbatch') else 'not found'}")
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        problems.append("Python must be 3.11 to 3.13")
    lines += [f"problem: {text}" for text in problems] or ["no problems found"]
    return lines, not problems


def _version(name: str, problems: list[str]) -> str:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        problems.append(f"{name} is not installed; run `make setup`")
        return "missing"
    if version in MALICIOUS.get(name, ()):
        problems.append(f"{name} {version} is a malicious release; install another version at once")
    return version


def _optional(name: str, extra: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"not installed: pip install 'hilum[{extra}]'"


def _memory() -> int:
    """Return the bytes of this machine's memory; 0 where the system has no such answer."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


def _hardware() -> list[str]:
    try:
        import torch

        from hilum.core.gpu import gpu_notes, smallest_gpu
        from hilum.core.precision import autocast_dtype
    except ImportError as error:
        return [f"torch        does not import: {error}"]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    gpu = "none"
    if device == "cuda":
        gpu = f"{torch.cuda.get_device_name()}, {smallest_gpu() / 2**30:.0f} GiB"
    dtype = autocast_dtype(device)
    precision = "float32" if dtype is None else str(dtype).removeprefix("torch.")
    return [
        f"processor    {os.cpu_count()} cores, {torch.get_num_threads()} torch threads",
        f"gpu          {gpu}",
        f"precision    {precision} on {device}",
        *(f"note         {line}" for line in gpu_notes()),
    ]


def _wandb() -> str:
    if os.environ.get("WANDB_MODE"):
        return f"WANDB_MODE={os.environ['WANDB_MODE']}"
    keyed = bool(os.environ.get("WANDB_API_KEY")) or (Path.home() / ".netrc").exists()
    online = "offline unless trainer.tracking.mode=online"
    return f"a key is set; {online}" if keyed else "no key; offline"
