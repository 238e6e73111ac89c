"""Write an encoder folder or a segmenter folder in the form of another tool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from hilum.core.errors import CheckpointError
from hilum.core.files import atomic_folder, hash_of_file, read_json, write_json
from hilum.core.outputs import check_output
from hilum.core.registry import Table, find
from hilum.core.weights import read_weights

REPORT = "export.json"
"""Beside the exported files: what they are, from where, their hashes, and what was measured."""

Kind = Literal["encoder", "segmenter"]
Writer = Callable[[Path, Path, float], dict[str, Any]]


@dataclass(frozen=True)
class Target:
    """A form to export to; `<name>.export_<name>` next to this file writes it.

    Attributes:
        title: What one gets, in a few words.
        takes: Folders that it can be made from.
        write: What writes it, in place of a file here: from a folder into another, with the largest
            difference of an output allowed; returns what it measured.
    """

    title: str
    takes: tuple[Kind, ...]
    write: Writer | None = None

    def writer(self, name: str) -> Writer:
        """Return what writes it."""
        if self.write is not None:
            return self.write
        return getattr(import_module(f".{name}", __package__), f"export_{name}")


_OURS = {
    "huggingface": Target("HuggingFace folder with a model card", ("encoder", "segmenter")),
    "state_dict": Target("plain PyTorch state dict, model.pt", ("encoder", "segmenter")),
    "nnunet": Target("nnU-Net checkpoint and nnssl adaptation plan", ("encoder",)),
    "onnx": Target("ONNX network, checked on ONNX Runtime", ("segmenter",)),
    "torchscript": Target("traced TorchScript network, model.ts", ("segmenter",)),
    "pt2": Target("torch.export program, model.pt2", ("segmenter",)),
    "monai_bundle": Target("MONAI bundle, from NIfTI to mask", ("segmenter",)),
}

TARGETS: Table[Target] = Table(
    "targets", _OURS, base="hilum.exchange.networks_out.exporting:Target", objects=True
)
"""Ours and those of others, by name."""


def export(folder: str | Path, target: str, out: str | Path, *, tolerance: float = 1e-3) -> Path:
    """Write `folder` in the form of another tool, whole or not at all.

    `out` also gets `export.json`: target, source, SHA-256 of every file, and what was measured.

    Args:
        folder: Encoder folder or segmenter folder.
        target: One of `TARGETS`.
        out: New folder; an earlier export there is replaced.
        tolerance: Largest absolute difference of an output from ours, where outputs are compared.

    Returns:
        `out`.

    Raises:
        SettingsError: If the target is unknown.
        CheckpointError: If the folder is damaged or cannot become it, or its outputs would differ.
        UserError: If a library is missing, or `out` holds something else.
    """
    source, place = Path(folder), Path(out)
    kind = kind_of(source)
    form = find(TARGETS, target, "target")
    takes = form.takes
    if kind not in takes:
        able = [name for name, other in TARGETS.working() if kind in other.takes]
        raise CheckpointError(
            f"{target} is made from {' or '.join(takes)} folders",
            file=source,
            found=f"{kind} folder",
            remedy=f"it can become {', '.join(able)}",
        )
    check_output(place, "export", earlier=REPORT, inputs=[source])
    read_weights(source)  # not every writer looks at what it copies
    write = form.writer(target)
    with atomic_folder(place) as part:
        measured = write(source, part, tolerance)
        files = sorted(path for path in part.rglob("*") if path.is_file())
        about = {
            "target": target,
            "kind": kind,
            "source": {"sha256": hash_of_file(source / "model.safetensors", 64)},
            "versions": {name: version(name) for name in ("hilum", "torch")},
            "files": {path.relative_to(part).as_posix(): hash_of_file(path, 64) for path in files},
            **measured,
        }
        write_json(part / REPORT, about)
    return place


def kind_of(folder: Path) -> Kind:
    """Tell what a folder holds by its `config.json`."""
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise CheckpointError(
                "the folder must hold config.json and model.safetensors",
                file=folder,
                found=f"no {name}",
                remedy="give the folder that `hilum pretrain` or `hilum finetune` named at its end",
            )
    values = read_json(folder / "config.json")
    if isinstance(values, dict) and "fusion" in values:
        return "segmenter"
    if isinstance(values, dict) and "architecture" in values:
        return "encoder"
    if isinstance(values, dict) and values.get("kind") == "network":
        raise CheckpointError(
            "the folder must hold an encoder or a segmenter",
            file=folder,
            found="a network",
            remedy="give the encoder folder of the same run, or fine-tune the network first",
        )
    raise CheckpointError(
        "config.json must describe an encoder or a segmenter",
        file=folder,
        remedy="weights of other tools become an encoder folder first: hilum import-weights",
    )
