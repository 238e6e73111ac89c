"""Run the contract tests of one method."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hilum.core.errors import SettingsError, UserError, did_you_mean
from hilum.core.modality import MODALITIES
from hilum.core.registry import Table
from hilum.datasets.importers.importing import FORMATS
from hilum.encoders import ENCODERS
from hilum.encoders.decoders import DECODERS
from hilum.evaluation.metrics.table import METRICS
from hilum.exchange.networks_out.exporting import TARGETS
from hilum.exchange.weights_in import SOURCES
from hilum.fusion import STRATEGIES
from hilum.losses import LOSSES
from hilum.pretrain import TASKS

TABLES: dict[str, Table[Any]] = {
    "encoders": ENCODERS,
    "decoders": DECODERS,
    "fusion": STRATEGIES,
    "pretext": TASKS,
    "losses": LOSSES,
    "formats": FORMATS,
    "modalities": MODALITIES,
    "metrics": METRICS,
    "sources": SOURCES,
    "targets": TARGETS,
}
"""Kinds that have a contract; the file of that name in this folder holds its checks."""


@dataclass
class Checks:
    """A pytest plug-in that runs each check on one method, and counts. Final.

    Attributes:
        name: The method.
        passed: Number of checks that it passed.
        failed: Names of those that it did not.
    """

    name: str
    passed: int = 0
    failed: list[str] = field(default_factory=list)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give the method to every check."""
        if "name" in metafunc.fixturenames:
            metafunc.parametrize("name", [self.name])

    def pytest_configure(self, config: pytest.Config) -> None:
        """Know the marks of the checks wherever they run."""
        config.addinivalue_line("markers", "slow: takes more than a second or two")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count."""
        if report.failed:
            self.failed.append(report.nodeid.rpartition("::")[2])
        elif report.when == "call" and report.passed:
            self.passed += 1


def contract(name: str, kind: str | None = None) -> int:
    """Run every check that our own methods of the kind must pass, and return how many passed.

    Args:
        name: Of a method of any kind of `TABLES`; or `module:Class`, or `module:OBJECT`.
        kind: One of `TABLES`, as in `hilum list`; found out if not given.

    Raises:
        SettingsError: If there is no such method, or it does not import.
        UserError: If a check fails; pytest has printed which, and why.
    """
    kind = kind or kind_of(name)
    if kind not in TABLES:
        raise SettingsError(
            f"unknown kind {kind!r}{did_you_mean(kind, TABLES)}",
            remedy=f"choose from {', '.join(TABLES)}",
        )
    TABLES[kind][name]
    checks = Checks(name)
    file = Path(__file__).with_name(f"{kind}.py")
    # The user's own pytest configuration is about other tests.
    words = [
        "-q",
        "-rs",
        "--tb=short",
        "--disable-warnings",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
    ]
    code = pytest.main([*words, f"--rootdir={file.parent}", str(file)], plugins=[checks])
    if code or not checks.passed:
        raise UserError(
            f"{name} must keep the contract of {kind}",
            found=f"{len(checks.failed)} of {len(checks.failed) + checks.passed} checks failed: "
            f"{', '.join(checks.failed[:3]) or 'none could run'}",
            remedy="see above, and docs/extending.md",
        )
    return checks.passed


def kind_of(name: str) -> str:
    """Return the kind of a method.

    Raises:
        SettingsError: If no table has it, or several have.
    """
    if ":" in name:
        return _kind_of_path(name)
    found = [kind for kind, table in TABLES.items() if name in table]
    if len(found) != 1:
        known = [other for table in TABLES.values() for other in table]
        raise SettingsError(
            f"{name!r} must be a method{'' if found else did_you_mean(name, known)}",
            found=f"one of {' and of '.join(found)}" if found else "no such name",
            remedy="say which by --kind" if found else "`hilum list` names them all",
        )
    return found[0]


def _kind_of_path(path: str) -> str:
    errors = []
    for kind, table in TABLES.items():
        try:
            table[path]
        except SettingsError as error:
            errors.append(error)
            if "must import" in error.rule:
                raise
        else:
            return kind
    bases = ", ".join(table.base.rpartition(":")[2] for table in TABLES.values())
    abstract = next((e for e in errors if "with every method" in e.rule), None)
    raise abstract or SettingsError(
        f"{path!r} must be a method", found=errors[0].found, remedy=f"subclass one of {bases}"
    )
