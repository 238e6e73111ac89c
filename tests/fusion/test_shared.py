"""One encoder sees all modalities; only its norms know which."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from hilum.fusion.mean import MeanFusion
from hilum.fusion.shared import SharedFusion


def test_at_step_0_it_is_mean_fusion_of_two_equal_encoders(
    build: Callable, given: dict[str, Tensor], available: Tensor
) -> None:
    shared, mean = build(SharedFusion), build(MeanFusion)
    for name in ("ct", "pet"):
        mean.encoders[name].load_state_dict(shared.encoders["shared"].state_dict())
    mean.decoder.load_state_dict(shared.decoder.state_dict())
    assert_close(shared(given, available), mean(given, available))


def test_norms_of_its_own_equal_an_encoder_with_other_affines(
    build: Callable, stir: Callable, given: dict[str, Tensor], available: Tensor
) -> None:
    shared, mean = build(SharedFusion), build(MeanFusion)
    stir(shared)
    mean.decoder.load_state_dict(shared.decoder.state_dict())
    for name in ("ct", "pet"):
        mean.encoders[name].load_state_dict(shared.encoders["shared"].state_dict())
        for key, norm in mean.encoders[name].named_modules():
            if isinstance(norm, nn.InstanceNorm3d):
                place = f"{name}_{key.replace('.', '_')}"
                # (1 + s) (g x + b) + t is a norm with other affines.
                gain, shift = 1 + shared.scale[place].data, shared.shift[place].data
                norm.bias.data = gain * norm.bias.data + shift
                norm.weight.data = gain * norm.weight.data
    assert_close(shared(given, available), mean(given, available))


def test_recomputed_activations_give_the_same_gradient(
    build: Callable, stir: Callable, given: dict[str, Tensor], available: Tensor
) -> None:
    plain = build(SharedFusion)
    stir(plain)
    saving = copy.deepcopy(plain)
    inner = saving.encoders["shared"].forward
    saving.encoders["shared"].forward = lambda x: checkpoint(inner, x, use_reentrant=False)
    for fusion in (plain, saving):
        fusion(given, available)[0].square().sum().backward()
    for (name, one), two in zip(plain.named_parameters(), saving.parameters(), strict=True):
        if one.grad is not None:
            assert_close(one.grad, two.grad, msg=name)
    assert any((p.grad != 0).any() for p in plain.scale.values())


def test_a_copy_is_independent(
    build: Callable, stir: Callable, given: dict[str, Tensor], available: Tensor
) -> None:
    fusion = build(SharedFusion)
    other = copy.deepcopy(fusion)
    before = other(given, available)[0].detach().clone()
    stir(fusion)
    assert_close(other(given, available)[0], before, rtol=0, atol=0)


def test_the_encoder_keeps_its_own_keys(build: Callable) -> None:
    fusion = build(SharedFusion)
    inner = set(fusion.encoders["shared"].state_dict())
    outer = {key for key in fusion.state_dict() if key.startswith("encoders.shared.")}
    assert outer == {f"encoders.shared.{key}" for key in inner}
    alone = sum(p.numel() for p in fusion.encoders["shared"].parameters())
    assert sum(p.numel() for p in build(MeanFusion).encoders.parameters()) == 2 * alone


def test_layer_norms_are_modulated_along_their_last_axis() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.channels, self.strides, self.in_channels = (3, 3), ((1, 1, 1), (1, 1, 1)), 1
            self.widen, self.norm = nn.Conv3d(1, 3, 1), nn.LayerNorm(3)

        def forward(self, image: Tensor) -> list[Tensor]:
            x = self.norm(self.widen(image).movedim(1, -1)).movedim(-1, 1)
            return [x, x]

    encoder = Tokens()
    fusion = SharedFusion(
        modalities=("ct", "pet"),
        encoders={"shared": encoder},
        make_decoder=lambda channels, strides: nn.Identity(),  # pyright: ignore
    )
    fusion.shift["pet_norm"].data += torch.tensor([1.0, 2.0, 3.0])
    volume = torch.randn(2, 1, 2, 3, 4)
    given = {"ct": volume, "pet": volume}
    ct = fusion(given, torch.tensor([[True, False]] * 2))[0]
    pet = fusion(given, torch.tensor([[False, True]] * 2))[0]
    assert_close(pet - ct, torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1, 1).expand_as(ct))
