"""Multimodal fusion and transfer learning for segmenting lymph nodes in paired scans.

Every command of `hilum` is a function of its name here, with `_` for `-` (`import` is
`import_cohort`), and so are the objects that one holds: `Segmenter`, `Encoder`, `CaseStore`, and
for a network of one's own `Patches` (a torch dataset), `Epochs` (its sampler) and `PatchesData`
(for Lightning). Settings are read by `load(PretrainSettings, files, ["seed=1"])`.

Importing `hilum` imports none of them, so that the command line answers at once; what is asked for
is imported then.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from hilum.core.callable_module import find

if TYPE_CHECKING:
    import builtins

    from hilum import annotate as annotate
    from hilum import study as study
    from hilum.annotate.embedding.embed import embed as embed
    from hilum.cli.contents import describe_any as inspect  # noqa: F401
    from hilum.cli.doctor import examine as doctor  # noqa: F401
    from hilum.cli.inventory import settings_of as settings  # noqa: F401
    from hilum.cli.inventory import tables as list  # noqa: A004, F401
    from hilum.cli.time_of_run import time_of_run as bench  # noqa: F401
    from hilum.contracts.run import contract as contract
    from hilum.core.recipes import recipes as recipes
    from hilum.core.settings import load as load
    from hilum.datasets.check.run import check as check
    from hilum.datasets.importers.importing import import_cohort as import_cohort
    from hilum.datasets.loading.own_network import Epochs as Epochs
    from hilum.datasets.loading.own_network import Patches as Patches
    from hilum.datasets.loading.own_network import PatchesData as PatchesData
    from hilum.datasets.nnunet_export import export_nnunet as export_nnunet
    from hilum.datasets.phantoms.cohort import write_cohort as phantom  # noqa: F401
    from hilum.datasets.prepare.run import prepare as prepare
    from hilum.datasets.preview_store import preview_store as preview  # noqa: F401
    from hilum.datasets.store.case_store import CaseStore as CaseStore
    from hilum.encoders.base import Encoder as Encoder
    from hilum.encoders.folders import read_encoder as read_encoder
    from hilum.exchange.networks_out.exporting import export as export
    from hilum.exchange.weights_in.importing import import_weights as import_weights
    from hilum.finetune.plan import plan as plan
    from hilum.finetune.run import finetune as finetune
    from hilum.pretrain.run import pretrain as pretrain
    from hilum.segmenter.assessment.evaluate import evaluate as evaluate
    from hilum.segmenter.assessment.explain import explain as explain
    from hilum.segmenter.assessment.robustness import robustness as robustness
    from hilum.segmenter.averaging import average as average
    from hilum.segmenter.calibration.calibrate import calibrate as calibrate
    from hilum.segmenter.prediction.cohort import predict as predict
    from hilum.segmenter.prediction.viewing import view as view
    from hilum.segmenter.segmenter import Segmenter as Segmenter
    from hilum.study.demo import demo as demo
    from hilum.study.masks.compare import compare as compare

__version__ = version("hilum")

_PLACES = {
    "CaseStore": "hilum.datasets.store.case_store:CaseStore",
    "Encoder": "hilum.encoders.base:Encoder",
    "Epochs": "hilum.datasets.loading.own_network:Epochs",
    "Patches": "hilum.datasets.loading.own_network:Patches",
    "PatchesData": "hilum.datasets.loading.own_network:PatchesData",
    "Segmenter": "hilum.segmenter.segmenter:Segmenter",
    "annotate": "hilum.annotate",
    "average": "hilum.segmenter.averaging:average",
    "bench": "hilum.cli.time_of_run:time_of_run",
    "calibrate": "hilum.segmenter.calibration.calibrate:calibrate",
    "check": "hilum.datasets.check.run:check",
    "compare": "hilum.study.masks.compare:compare",
    "contract": "hilum.contracts.run:contract",
    "demo": "hilum.study.demo:demo",
    "doctor": "hilum.cli.doctor:examine",
    "embed": "hilum.annotate.embedding.embed:embed",
    "evaluate": "hilum.segmenter.assessment.evaluate:evaluate",
    "explain": "hilum.segmenter.assessment.explain:explain",
    "export": "hilum.exchange.networks_out.exporting:export",
    "export_nnunet": "hilum.datasets.nnunet_export:export_nnunet",
    "finetune": "hilum.finetune",
    "import_cohort": "hilum.datasets.importers.importing:import_cohort",
    "import_weights": "hilum.exchange.weights_in.importing:import_weights",
    "inspect": "hilum.cli.contents:describe_any",
    "list": "hilum.cli.inventory:tables",
    "load": "hilum.core.settings:load",
    "phantom": "hilum.datasets.phantoms.cohort:write_cohort",
    "plan": "hilum.finetune.plan:plan",
    "predict": "hilum.segmenter.prediction.cohort:predict",
    "prepare": "hilum.datasets.prepare.run:prepare",
    "pretrain": "hilum.pretrain",
    "preview": "hilum.datasets.preview_store:preview_store",
    "read_encoder": "hilum.encoders.folders:read_encoder",
    "recipes": "hilum.core.recipes:recipes",
    "robustness": "hilum.segmenter.assessment.robustness:robustness",
    "settings": "hilum.cli.inventory:settings_of",
    "study": "hilum.study",
    "view": "hilum.segmenter.prediction.viewing:view",
}
"""Where each name lives; a room that is called like a command answers calls itself."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return find(_PLACES[name])


def __dir__() -> builtins.list[str]:
    return sorted({*globals(), *_PLACES})
