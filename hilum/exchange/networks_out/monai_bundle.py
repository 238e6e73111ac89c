"""Export a segmenter as a MONAI bundle: from NIfTI files to a mask, with MONAI and torch alone."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hilum.core.files import write_json, write_text
from hilum.core.modality import modality
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

from .bundle_decision import decision, filtering, not_expressed, probabilities, tempering
from .bundle_readme import readme
from .network import check_windows, open_segmenter
from .torchscript import write_torchscript

Step = dict[str, Any]


def export_monai_bundle(folder: Path, part: Path, tolerance: float) -> dict[str, Any]:
    """Write `configs/`, `models/model.ts`, `docs/` and the licence line of a bundle.

    The network is compared with ours; the way there is written in MONAI's transforms. On grids that
    need no resampling masks are equal; else they differ at borders, as the tools resample and crop
    in other ways.
    """
    segmenter = open_segmenter(folder)
    config = segmenter.config
    check_windows(config, "a bundle")
    window = config.inference.window or config.patch
    (part / "models").mkdir()
    segmenter.config = config.model_copy(update={"patch": window})  # traced at the window
    measured = write_torchscript(segmenter, part / "models" / "model.ts", tolerance)
    segmenter.config = config
    write_json(part / "configs" / "metadata.json", metadata(segmenter))
    write_json(part / "configs" / "inference.json", inference(segmenter))
    shutil.copyfile(folder / "config.json", part / "configs" / "segmenter.json")
    write_text(part / "docs" / "README.md", readme(segmenter))
    write_text(part / "LICENSE", f"Weights: {config.licence or 'licence not stated'}\n")
    return measured


def metadata(segmenter: Segmenter) -> dict[str, Any]:
    """Return `metadata.json` in the words of MONAI's schema."""
    config = segmenter.config
    sides = list(config.inference.window or config.patch)
    channels = {str(i): name for i, name in enumerate(segmenter.modalities)}
    classes = {str(i): "background" if i == 0 else f"class {i}" for i in range(config.classes)}
    if config.regions:
        classes = {str(i): name for i, name in enumerate(("background", *config.class_names))}
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/"
        "0.8.1/meta_schema_20240725.json",
        "version": "0.1.0",
        "changelog": {"0.1.0": "exported by hilum"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {name: version(name) for name in ("nibabel", "scipy")},
        "name": f"Segmenter for {' + '.join(segmenter.modalities)}",
        "task": "Segmentation of lymph nodes",
        "description": f"{config.encoder.get('name')} with {config.fusion.get('name')} fusion",
        "authors": "see docs/README.md",
        "copyright": config.licence or "not stated",
        "operating_point": {
            **config.operating_point.model_dump(mode="json"),
            "not_applied": not_expressed(config.operating_point),
        },
        "intended_use": "Research only; not a medical device",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "+".join(segmenter.modalities),
                    "num_channels": len(segmenter.modalities),
                    "spatial_shape": sides,
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": True,
                    "channel_def": channels,
                },
                "available": {
                    "type": "tuples",
                    "num_channels": len(segmenter.modalities),
                    "dtype": "bool",
                    "channel_def": channels,
                },
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": config.classes,
                    "spatial_shape": sides,
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": True,
                    "channel_def": classes,
                }
            },
        },
    }


def inference(segmenter: Segmenter) -> dict[str, Any]:
    """Return `inference.json`: files are given by name, as in `--ct CT.nii.gz --pet PET.nii.gz`."""
    config, names = segmenter.config, list(segmenter.modalities)
    first = config.preparation.reference or ("ct" if "ct" in names else names[0])
    window = list(config.inference.window or config.patch)
    return {
        "imports": [
            "$import torch",
            "$import numpy as np",
            "$from scipy import ndimage",
            "$from monai.data import MetaTensor",
        ],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        **dict.fromkeys(names, ""),
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "modalities": names,
        "files": {name: f"@{name}" for name in names},
        "given": "$[name for name in @modalities if @files[name]]",
        "absent": "$[name for name in @modalities if not @files[name]]",
        "reference": f"${first!r} if {first!r} in @given else @given[0]",
        "others": "$[name for name in @given if name != @reference]",
        "fill": {name: modality(name).fill for name in names},
        "available": "$torch.tensor([[name in @given for name in @modalities]])",
        "dataset": "$[{name: @files[name] for name in @given}]",
        "network_def": "$torch.jit.load(@bundle_root + '/models/model.ts', "
        "map_location=@device).eval()",
        "network": f"$lambda windows: (lambda z: {probabilities(bool(config.regions))})"
        "(@network_def(windows.as_tensor() if "
        "hasattr(windows, 'as_tensor') else windows, "
        "@available.to(windows.device).expand(len(windows), -1)).float())",
        **_grid(segmenter),
        "preprocessing": {"_target_": "Compose", "transforms": _before(segmenter, window)},
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": window,
            "sw_batch_size": config.inference.batch_size,
            "overlap": config.inference.overlap,
            "mode": "gaussian",
            "sw_device": "@device",
            "device": "$torch.device('cpu')",
        },
        "postprocessing": {"_target_": "Compose", "transforms": _after(config)},
        "inner": "$lambda x, sides: x[(slice(None), *(slice((a - b) // 2, (a - b) // 2 + b) "
        "for a, b in zip(x.shape[1:], sides)))]",
        "windows": "$lambda data: @inferer(data['image'][None].as_tensor(), @network)[0]",
        "infer": "$lambda data: {**data, 'pred': MetaTensor(@inner(@windows(data), "
        "data['grid'].shape[1:]), affine=data['grid'].affine, "
        "meta={'filename_or_obj': data['source'].meta['filename_or_obj']})}",
        "run": [
            "$torch.set_grad_enabled(False)",
            "$[@postprocessing(@infer(@preprocessing(row))) for row in @dataset]",
        ],
    }


def _grid(segmenter: Segmenter) -> Step:
    """Return expressions for the network's grid over an image: the same box and centre.

    MONAI's own choice of spacing rounds sides and places voxels in another way.
    """
    return {
        "spacing": list(segmenter.config.spacing),
        "factor": "$lambda x: np.asarray(@spacing) / np.asarray(x.pixdim)",
        "sides": "$lambda x: np.maximum(np.floor(np.asarray(x.shape[1:]) / @factor(x) + 0.5001), "
        "1).astype(int)",
        "middle": "$lambda sides: (np.asarray(sides) - 1) / 2",
        "axes": "$lambda x: np.asarray(x.affine)[:3, :3]",
        "origin": "$lambda x: np.asarray(x.affine)[:3, 3] + @axes(x).dot(@middle(x.shape[1:])) "
        "- (@axes(x) * @factor(x)).dot(@middle(@sides(x)))",
        "affine": "$lambda x: np.vstack([np.column_stack([@axes(x) * @factor(x), @origin(x)]), "
        "[0, 0, 0, 1]])",
        "grid": "$lambda x: MetaTensor(torch.zeros((1, *@sides(x).tolist())), "
        "affine=torch.from_numpy(@affine(x)))",
    }


def _before(segmenter: Segmenter, window: Sequence[int]) -> list[Step | str]:
    names = segmenter.modalities
    steps: list[Step | str] = [
        _step("LoadImaged", "@given", reader="NibabelReader", ensure_channel_first=True),
        _step("EnsureTyped", "@given", dtype="$torch.float32"),
        "$lambda data: {**data, 'source': data[@reference]}",
        _step("Orientationd", "@given", axcodes=segmenter.config.orientation),
        *(_by_percentile(name) for name in names if modality(name).unit == "a.u."),
        "$lambda data: {**data, 'grid': @grid(data[@reference])}",
        _step(
            "ResampleToMatchd",
            "@reference",
            key_dst="grid",
            mode="bilinear",
            padding_mode="border",
        ),
    ]
    # The nearest voxel goes on for half a voxel; what lies further outside is the fill value.
    steps += [
        "$lambda data: {**data, **{name + '_inside': MetaTensor(torch.ones_like(data[name]), "
        "affine=data[name].affine) for name in @others}}",
        _step(
            "ResampleToMatchd",
            "@others",
            key_dst="@reference",
            mode="bilinear",
            padding_mode="border",
            _disabled_="$not @others",
        ),
        _step(
            "ResampleToMatchd",
            "$[name + '_inside' for name in @others]",
            key_dst="@reference",
            mode="nearest",
            padding_mode="zeros",
            _disabled_="$not @others",
        ),
        "$lambda data: {**data, **{name: torch.where(data[name + '_inside'] > 0.5, data[name], "
        "@fill[name]) for name in @others}}",
    ]
    for name in names:
        rule = modality(name)
        # A case store holds float16, so the network was trained on such values.
        clipped = f"x.half().float().clamp({rule.low}, {rule.high})"
        middle, half = (rule.low + rule.high) / 2, (rule.high - rule.low) / 2
        scaled = f"{clipped}.log1p()" if rule.scale == "log" else f"({clipped} - {middle}) / {half}"
        outside = _encoded(name)
        steps.append(_step("Lambdad", name, func=f"$lambda x: {scaled}", allow_missing_keys=True))
        steps.append(
            _step(
                "SpatialPadd",
                name,
                spatial_size=list(window),
                value=outside,
                allow_missing_keys=True,
            )
        )
    return [
        *steps,
        _step(
            "CopyItemsd",
            "@reference",
            times="$len(@absent)",
            names="@absent",
            _disabled_="$not @absent",
        ),
        _step("Lambdad", "@absent", func="$torch.zeros_like", _disabled_="$not @absent"),
        _step("ConcatItemsd", "@modalities", name="image"),
    ]


def _after(config: SegmenterConfig) -> list[Step]:
    point, regions = config.operating_point, config.overlapping
    return [
        *tempering(point, regions is not None),
        # Probabilities are interpolated, not masks, so that borders stay fine.
        _step("ResampleToMatchd", "pred", key_dst="source", mode="bilinear", padding_mode="border"),
        decision(point, regions),
        *filtering(point, config.classes, regions),
        _step(
            "SaveImaged",
            "pred",
            output_dir="@output_dir",
            output_postfix="mask",
            output_dtype="$np.uint8",
            separate_folder=False,
            resample=False,
        ),
    ]


def _by_percentile(name: str) -> Step:
    """Return the step that gives a modality without unit its scale.

    `hilum prepare` divides by the 99th percentile inside the body. Here the body is what is above a
    tenth of the scan's 99th percentile, where `hilum` begins, too; it is neither cleaned nor
    filled, nor taken from a CT.
    """
    inside = "x[x > np.percentile(x, 99) * 0.1]"
    func = f"$lambda x: x / (float(np.percentile({inside}, 99)) if bool(x.any()) else 1.0)"
    return _step("Lambdad", name, func=func, allow_missing_keys=True)


def _encoded(name: str) -> float:
    import torch

    rule = modality(name)
    return float(rule.encode(torch.tensor([rule.fill], dtype=torch.float32))[0])


def _step(target: str, keys: str, **values: Any) -> Step:
    return {"_target_": target, "keys": keys, **values}
