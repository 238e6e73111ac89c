"""What a MONAI bundle says of itself to whoever opens its folder."""

from __future__ import annotations

from hilum.segmenter.segmenter import Segmenter

from .bundle_decision import not_expressed


def readme(segmenter: Segmenter) -> str:
    """Return the text for the folder `docs` of a bundle."""
    files = " ".join(f"--{name} {name}.nii.gz" for name in segmenter.modalities)
    point = segmenter.config.operating_point
    words = point.words(segmenter.config.overlapping is not None)
    left = not_expressed(point)
    dropped = f" {left}" if left else ""
    if segmenter.config.inference.flips != "none":
        dropped += " Mirror images, which `hilum predict` averages here, are not predicted."
    return f"""# MONAI bundle of a segmenter for {" + ".join(segmenter.modalities)}

```
python -m monai.bundle run --config_file configs/inference.json \\
    --meta_file configs/metadata.json {files} --output_dir eval
```

Leave out a file that a patient lacks. PET must be in SUV, CT in HU. The mask lies on the grid of
the CT (without one, of the first file). `models/model.ts` holds the network; it needs no code of
ours. The mask is that of the segmenter's operating point: {words}.{dropped}

Where scans must be resampled, masks differ from those of `hilum predict` at borders.

For research only; not a medical device.
"""
