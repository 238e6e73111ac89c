"""What is private in other libraries does what hilum takes it to do; each is used in one file."""

from __future__ import annotations

import ast
import importlib
import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from packaging.requirements import Requirement
from pytorch_lightning.loggers import WandbLogger
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from hilum.core import compat

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "hilum"
FILES = sorted(
    file
    for room in PACKAGE.iterdir()
    for file in (room.rglob("*.py") if room.is_dir() else [room])
    if file.suffix == ".py"
)
LIBRARIES = {"torch", "pytorch_lightning", "lightning_fabric", "wandb", "timm", "monai"}
LIBRARIES |= {"transformers", "numpy", "np", "nn", "pl", "F"}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_uses(code: str) -> list[str]:
    """Return imports of private names of a library, and names below it."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [*node.module.split("."), *(name.name for name in node.names)]
            if names[0] in LIBRARIES and any(map(private, names)):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Attribute) and private(node.attr):
            words = ast.unparse(node).split(".")
            if words[0] in LIBRARIES or words[0] == "trainer":
                found.append(ast.unparse(node))
    return found


def test_no_other_file_uses_what_is_private_in_a_library() -> None:
    uses = {str(file.relative_to(PACKAGE)): private_uses(file.read_text()) for file in FILES}
    assert len(uses) > 300
    assert {file for file, found in uses.items() if found} == {"core/compat.py"}


@pytest.mark.parametrize(
    "code",
    [
        "from torch.utils._pytree import tree_leaves",
        "from timm.models import _helpers",
        "import torch\ntorch._foreach_add_(a, b)",
        "nn.modules.batchnorm._NormBase",
        "trainer.fit_loop._warmup",
    ],
)
def test_a_private_name_is_seen(code: str) -> None:
    assert private_uses(code)


@pytest.mark.parametrize("name", ["torch", "pytorch-lightning", "timm", "wandb"])
def test_a_library_with_private_names_in_use_has_an_upper_bound_that_this_one_fits(
    name: str,
) -> None:
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    asked = {need.name: need.specifier for need in map(Requirement, lines)}
    assert any(part.operator == "<" for part in asked[name])
    assert asked[name].contains(version(name).partition("+")[0], prereleases=True)


def test_every_tensor_moves_towards_the_other() -> None:
    old, new = (
        [torch.tensor([0.0, 4.0]), torch.ones(2, 2)],
        [torch.tensor([8.0, 0.0]), torch.ones(2, 2)],
    )
    compat.lerp_all(old, new, 0.25)
    assert_close(old[0], torch.tensor([2.0, 3.0]))
    assert_close(old[1], torch.ones(2, 2))


def test_gamma_draws_have_mean_and_variance_of_their_concentration() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = compat.gamma(torch.full((20_000,), 3.0), generator)
    assert drawn.mean() == pytest.approx(3, abs=0.05)
    assert drawn.var() == pytest.approx(3, abs=0.15)
    again = compat.gamma(torch.full((20_000,), 3.0), torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


def test_bfloat16_of_the_processor_is_what_the_system_says() -> None:
    flags = Path("/proc/cpuinfo")
    if not flags.exists():
        pytest.skip("needs Linux")
    words = flags.read_text().split()
    assert compat.fast_bfloat16_on_cpu() == bool({"avx512_bf16", "amx_tile"} & set(words))


def test_views_share_a_storage_and_copies_do_not_though_they_lie_nowhere() -> None:
    with FakeTensorMode():
        one = torch.empty(4)
        view, other = one[1:], torch.empty(4)
    key = compat.key_of(one.untyped_storage())
    assert compat.key_of(view.untyped_storage()) == key
    assert compat.key_of(other.untyped_storage()) != key


def test_a_check_where_the_value_lies_fails_with_its_message_on_a_processor() -> None:
    compat.assert_later(torch.tensor(True), "all is well")
    with pytest.raises(RuntimeError, match="no modality"):
        compat.assert_later(torch.tensor(False), "no modality")


def test_a_pretended_device_has_shapes_and_no_values() -> None:
    with compat.pretending():
        product = torch.empty(2, 3, device="cuda") @ torch.empty(3, 4, device="cuda")
        assert (product.shape, product.device.type) == ((2, 4), "cuda")
        with pytest.raises(Exception, match=r"item|data-dependent|_local_scalar_dense"):
            product.sum().item()


def test_every_operation_passes_a_dispatch_mode_and_every_leaf_is_found() -> None:
    seen: list[str] = []

    class Watch(compat.TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    with Watch():
        torch.ones(2) + 1
    assert any("add" in name for name in seen)
    assert compat.tree_leaves({"a": [1, (2, 3)], "b": 4}) == [1, 2, 3, 4]


def test_torch_compiles_one_function_as_often_as_allowed() -> None:
    config = importlib.import_module("torch._dynamo.config")
    with config.patch(recompile_limit=3):
        compat.allow_recompiles(5)
        assert config.recompile_limit == 5
    with pytest.raises(AttributeError):
        config.no_such_limit  # noqa: B018 - the config knows its names


def test_graphs_and_breaks_are_counted_from_nothing_and_forgotten() -> None:
    module = torch.nn.ReLU()
    with compat.capturing(2) as counters:
        module.compile(backend="eager")
        module(torch.zeros(2))
        assert counters["stats"]["unique_graphs"] == 1
        assert not counters["graph_break"]
    assert not counters["stats"]


def test_the_squeeze_and_excitation_is_the_one_in_timms_efficientnets() -> None:
    import timm

    kind = compat.efficient_squeeze_excite()
    parts = [p for p in timm.create_model("efficientnet_b0").modules() if isinstance(p, kind)]
    assert parts
    assert {"conv_reduce", "act1", "conv_expand", "gate"} <= {
        n for n, _ in parts[0].named_children()
    }


def test_lightning_goes_on_at_the_step_that_its_counters_are_set_to() -> None:
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, barebones=True
    )
    compat.set_step(trainer, 7, 3)
    assert trainer.global_step == 7
    assert trainer.fit_loop.epoch_loop.batch_progress.total.completed == 21
    assert trainer.fit_loop.epoch_loop._batches_that_stepped == 7


def test_a_wandb_logger_gives_its_run_away_and_asks_nothing_that_is_deprecated(
    tmp_path: Path,
) -> None:
    logger = WandbLogger(save_dir=tmp_path, offline=True, id="a")
    compat.silence_anonymous(logger)
    assert "anonymous" not in logger._wandb_init
    assert {"id", "dir", "project"} <= logger._wandb_init.keys()
    run = object()
    logger._experiment = run  # pyright: ignore[reportAttributeAccessIssue]
    assert logger.experiment is run
    assert compat.taken_run(logger) is run
    assert compat.taken_run(logger) is None


def test_wandb_has_the_exit_hook_that_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib.service import service_connection

    source = inspect.getsource(service_connection.ServiceConnection)
    assert "_cleanup" in source
    assert "_connection" in inspect.getsource(wandb_setup)
    ended: list[bool] = []

    class Connection:
        def _cleanup(self) -> None:
            ended.append(True)

    monkeypatch.setattr(wandb_setup.singleton(), "_connection", Connection())
    compat.leave_wandb_behind()
    assert ended == [True]
