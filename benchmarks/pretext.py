"""Measure steps of pretraining against nnssl's way, MONAI's masked autoencoder, and dense encoding.

`python benchmarks/pretext.py` writes `results/pretext.json`, and with names of tasks, as in
`python benchmarks/pretext.py synthetic_nodes`, their rows alone to `results/pretext_<name>.json`.
Times are CPU seconds of one thread, taken in turn in one process, forward and backward; the last
row has the loop of a whole run. nnssl itself needs a fork of its network library, so its step is
written here with the network of that library: image times mask, the whole U-Net, squared error
where it was hidden.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Sequence
from functools import partial

import torch
from cohort import make_cohort, make_store
from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
from epoch import CPU_CLOCK, STEPS, settings
from monai.networks.nets.masked_autoencoder_vit import MaskedAutoEncoderViT
from timing import Took, compare, write
from torch import Tensor, nn

from hilum.core.precision import autocast_dtype, guard_bf16_conv3d
from hilum.core.registry import build
from hilum.core.seeds import torch_generator
from hilum.core.settings import validate
from hilum.encoders import ENCODERS
from hilum.pretrain import TASKS
from hilum.pretrain import bench as pretraining
from hilum.pretrain.base import PretextBatch, PretextTask
from hilum.pretrain.run import pretrain
from hilum.pretrain.settings import PretrainSettings
from hilum.training import bench
from hilum.training import callbacks as watch

torch.set_num_threads(1)

SIDE = 64
FEATURES, BLOCKS = (32, 64, 128, 256), (1, 3, 4, 6)
VIT = {"name": "vit", "token": 8, "trained": SIDE, "width": 384, "depth": 12, "heads": 6}
SPACING = (2.0, 2.0, 2.0)
NOT_CONVOLUTIONAL = ("multimodal_tokens",)
PARAMETERS = {"joint": {"tasks": {"synthetic_nodes": {}, "masked_autoencoder": {}}}}
DECODER = {"decoder_width": 192, "decoder_depth": 2, "decoder_heads": 6}


def batch(modalities: int, patches: int = 1, views: int = 1, side: int = SIDE) -> PretextBatch:
    """Return patches whose voxels all count, with as many views of each as asked for."""
    image = torch.randn(patches, modalities, side, side, side)
    have = torch.ones((patches, modalities), dtype=torch.bool)
    body = torch.ones((patches, 1, side, side, side), dtype=torch.bool)
    names = tuple(f"case {number}" for number in range(patches))
    shift = torch.zeros((patches, modalities, 3))
    draws = torch_generator(0, "bench")
    others = tuple(batch(modalities, patches, 1, side) for _ in range(views - 1))
    return PretextBatch(image, have, body, draws, None, shift, others, names)


def task(
    name: str,
    encoder: dict[str, object],
    modalities: int,
    spacing: tuple[float, float, float] = SPACING,
    **own: object,
) -> PretextTask:
    """Build a task around a new encoder."""
    names = ("ct", "pet")[:modalities]
    made = build(ENCODERS, encoder, in_channels=modalities)
    return build(TASKS, {"name": name, **own}, encoder=made, modalities=names, spacing=spacing)


def step(made: PretextTask, view: PretextBatch) -> Callable[[int], None]:
    """Return a training step without the optimiser."""

    def action(number: int) -> None:
        loss, _ = made.loss(view._replace(generator=torch_generator(0, "bench", number)))
        loss.backward()

    return action


def dense() -> dict[str, object]:
    """Compare the step of a convolutional masked autoencoder."""
    encoder = {"name": "resenc", "features": FEATURES, "blocks": BLOCKS}
    ours = task("masked_autoencoder", encoder, 1, ratio=0.75, block=16)
    theirs = ResidualEncoderUNet(
        input_channels=1,
        n_stages=len(FEATURES),
        features_per_stage=FEATURES,
        conv_op=nn.Conv3d,
        kernel_sizes=3,
        strides=[1, 2, 2, 2],
        n_blocks_per_stage=BLOCKS,
        num_classes=1,
        n_conv_per_stage_decoder=[1] * (len(FEATURES) - 1),
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )
    view = batch(1)

    def nnssl(number: int) -> None:
        small = torch.rand((1, 1, 4, 4, 4), generator=torch_generator(0, number)) > 0.75
        mask = small.repeat_interleave(16, 2).repeat_interleave(16, 3).repeat_interleave(16, 4)
        error = (theirs(view.image * mask) - view.image).square() * ~mask
        (error.sum() / (~mask).sum()).backward()

    return compare(
        f"masked autoencoder, residual encoder, {SIDE}^3",
        {"hilum": step(ours, view), "the step of nnssl": nnssl},
        rounds=5,
    )


def tokens() -> list[dict[str, object]]:
    """Compare a ViT that sees visible tokens only with MONAI's, and with one that sees all."""
    view = batch(1)
    ours = task("multimodal_tokens", VIT, 1, ratio=0.75, drop=0.0, **DECODER)
    monai = MaskedAutoEncoderViT(
        in_channels=1,
        img_size=SIDE,
        patch_size=8,
        hidden_size=384,
        mlp_dim=4 * 384,
        num_layers=12,
        num_heads=6,
        masking_ratio=0.75,
        decoder_hidden_size=192,
        decoder_mlp_dim=4 * 192,
        decoder_num_layers=2,
        decoder_num_heads=6,
        qkv_bias=True,
    )

    def theirs(number: int) -> None:
        rebuilt, mask = monai(view.image)
        cubes = view.image.unfold(2, 8, 8).unfold(3, 8, 8).unfold(4, 8, 8)
        target = cubes.reshape(1, 512, 512)
        ((rebuilt - target).square().mean(-1) * mask).sum().div(mask.sum()).backward()

    full = task("simmim", VIT, 1, ratio=0.75, block=8, stride=8)
    encoder = build(ENCODERS, VIT, in_channels=1)
    image = torch.randn(1, 1, SIDE, SIDE, SIDE)

    def every(number: int) -> None:
        coarse: Tensor = encoder(image)[-1]
        coarse.square().mean().backward()

    return [
        compare(
            f"masked autoencoder, ViT with visible tokens only, 75 % hidden, {SIDE}^3",
            {"hilum": step(ours, view), "MONAI MaskedAutoEncoderViT": theirs},
            rounds=5,
        ),
        compare(
            f"the same ViT encoding every token, {SIDE}^3",
            {
                "visible tokens only": step(ours, view),
                "SimMIM, every token": step(full, view),
                "encoder alone, every token": every,
            },
            rounds=5,
        ),
    ]


def every_task(names: Sequence[str]) -> list[dict[str, object]]:
    """Compare the step of tasks with the masked autoencoder's, two patches in a step."""
    encoder = {"name": "resenc", "size": "tiny"}
    base = task("masked_autoencoder", encoder, 2)
    rows = []
    for name in names:
        if name in ("masked_autoencoder", *NOT_CONVOLUTIONAL):
            continue
        other = task(name, encoder, 2, **PARAMETERS.get(name, {}))
        ways = {
            "masked_autoencoder": step(base, batch(2, 2)),
            name: step(other, batch(2, 2, other.views)),
        }
        rows.append(compare(f"{name}, tiny residual encoder, 2 x {SIDE}^3", ways, rounds=3))
    return rows


def of_the_studies(name: str) -> dict[str, object]:
    """Compare a task's step with the masked autoencoder's as the studies of the pages train.

    Their network is small and computes in bfloat16 where the processor does, so what a task does to
    the patches weighs more.
    """
    encoder = {"name": "resenc", "features": [16, 32, 64, 128], "blocks": [1, 1, 1, 1]}
    number = autocast_dtype("cpu")

    def action(name: str) -> Callable[[int], None]:
        made = task(name, encoder, 2, (4.0, 4.0, 4.0), **PARAMETERS.get(name, {}))
        guard_bf16_conv3d(made)
        alone = step(made, batch(2, 4, made.views, 32))

        def cast(count: int) -> None:
            with torch.autocast("cpu", number or torch.bfloat16, enabled=number is not None):
                alone(count)

        return cast

    kind = "float32" if number is None else "bfloat16"
    ways = {other: action(other) for other in ("masked_autoencoder", name)}
    return compare(f"{name}, network of the studies in {kind}, 4 x 32^3 at 4 mm", ways, rounds=15)


def loop(folder: Path) -> dict[str, object]:
    """Compare the loop of pretraining with its bare steps."""
    run = settings(make_store(make_cohort(folder, 2), folder / "store"), "auto")
    values = {"store": run.store, "modalities": run.modalities, "encoder": run.encoder}
    values |= {"patch": run.patch, "split": run.split, "trainer": run.trainer}
    values |= {"task": {"name": "masked_autoencoder"}}
    own = pretraining.short(validate(PretrainSettings, values), STEPS, "disabled")

    def alone(number: int) -> Took:
        with mock.patch.object(bench, "time", CPU_CLOCK):
            phases = bench.bare(pretraining.apart(own), own.trainer, STEPS)
        return Took(sum(phases.values()))

    def whole(number: int) -> Took:
        with mock.patch.object(watch, "time", CPU_CLOCK):
            return Took(bench.real(partial(pretrain, own), folder / f"run{number}"))

    what = f"the pretraining loop over its bare steps, tiny resenc, 2 x 2 x {SIDE}^3"
    return compare(what, {"bare steps": alone, "hilum": whole}, rounds=5)


def main() -> None:
    """Run every comparison and write one file, or that of the tasks that are named."""
    if names := sys.argv[1:]:
        command = f"python benchmarks/pretext.py {' '.join(names)}"
        rows = [*every_task(names), *map(of_the_studies, names)]
        print(write(f"pretext_{'_'.join(names)}", command, rows))
        return
    with tempfile.TemporaryDirectory() as temporary:
        rows = [dense(), *tokens(), *every_task(tuple(TASKS)), loop(Path(temporary))]
    print(write("pretext", "python benchmarks/pretext.py", rows))


if __name__ == "__main__":
    main()
