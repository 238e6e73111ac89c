"""What a folder of ours or a weights file holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from hilum.core.errors import UserError
from hilum.core.files import read_object
from hilum.core.side_files import read_side

OURS = ("store.json", "status.json")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


def describe_any(path: Path) -> Iterable[str]:
    """Return lines that say what a folder of ours, or a weights file of any tool, is."""
    from hilum.exchange.weights_in.hub import find_weights, parse_name

    if not path.exists() and parse_name(str(path)):
        path = find_weights(path)
    if path.is_file() or (path.is_dir() and _foreign(path)):
        from hilum.exchange.weights_in.inspect import look

        return look(path)
    return describe(path)


def _foreign(folder: Path) -> bool:
    """Return whether a folder is of another tool: weights without our configuration."""
    if any((folder / name).exists() for name in OURS):
        return False
    if not any((folder / name).exists() for name in WEIGHTS):
        return False
    config = read_object(folder / "config.json") if (folder / "config.json").exists() else {}
    ours = "fusion" in config or config.get("kind") == "network"
    return not (isinstance(config.get("architecture"), dict) or ours)


def describe(folder: Path) -> list[str]:
    """Say what a folder holds, by the files in it."""
    kinds: list[tuple[str, Callable[[Path], Iterable[str]]]] = [
        ("store.json", _describe_store),
        ("status.json", _describe_run),
        ("config.json", _describe_weights),
    ]
    for file, describer in kinds:
        if (folder / file).exists():
            return list(describer(folder))
    raise UserError(
        "the folder must be a case store, a run, an encoder, a network or a segmenter",
        file=folder,
        found=", ".join(sorted(p.name for p in folder.iterdir())[:4])
        if folder.is_dir()
        else "none",
        remedy="give what `hilum prepare`, `pretrain`, `finetune` or `import-weights` wrote",
    )


def _describe_store(folder: Path) -> Iterable[str]:
    from hilum.datasets.store.case_store import CaseStore

    store = CaseStore(folder)
    cases = [store[name] for name in store.ids]
    yield f"case store: {len(cases)} cases of {len({case.patient for case in cases})} patients"
    yield f"modalities: {', '.join(store.modalities)}"
    yield f"spacing (mm): {store.spacing}; fingerprint {store.fingerprint}"
    if left_out := store.about.get("left_out"):
        yield "left out: " + "; ".join(f"{name} ({why})" for name, why in left_out.items())
    yield f"labelled: {sum(case.labelled for case in cases)}"
    yield f"nodes: {sum(len(case.nodes) for case in cases)}"


def _describe_run(folder: Path) -> Iterable[str]:
    status = read_side(folder / "status.json")
    yield f"run of `hilum {status['command']}`: {status['state']}"
    if (folder / "summary.json").exists():
        for key, value in read_side(folder / "summary.json").items():
            yield f"{key}: {value}"
    elif "step" in status:
        yield f"step {status['step']} of {status['steps']}"
    yield f"repeat it: hilum {status['command']} -c {folder / 'config.yaml'} --out OTHER"


def _describe_weights(folder: Path) -> Iterable[str]:
    from hilum.core.seen import read_seen, seen_in_words
    from hilum.core.weights import read_weights
    from hilum.encoders.networks import Output

    config = read_object(folder / "config.json")
    weights = read_weights(folder)
    count = sum(tensor.numel() for tensor in weights.values())
    kind = "segmenter" if "fusion" in config or "segmenter" in config else "encoder"
    kind = config.get("kind", kind)
    yield f"{kind}: {len(weights)} tensors, {count:,} numbers"
    if kind == "network":
        outputs = [str(Output.model_validate(output)) for output in config.pop("outputs")]
        yield f"outputs: {', '.join(outputs)}"
        config |= config.pop("encoder")
    seen = read_seen(folder)
    yield f"patients learned from: {seen_in_words(seen)}"
    for key, value in config.items():
        if key not in ("seen", "tested", "chose"):
            yield f"{key}: {value}"
