"""Rules without learning run as cells, and stand in the report as arms."""

from __future__ import annotations

from pathlib import Path

from hilum.core.settings import validate
from hilum.study.grid.cells import expand
from hilum.study.report.label_efficiency import curves
from hilum.study.report.report import write_report
from hilum.study.run.ledger import read
from hilum.study.run.local import run_cells
from hilum.study.settings import StudySettings


def test_baselines_are_arms_and_a_fixed_one_is_a_level_line(store: Path, tmp_path: Path) -> None:
    """Real cells: they take no step."""
    values = {
        "name": "rules",
        "store": str(store),
        "factors": {
            "method": {
                "SUV 2.5": {"baseline": {"limit": 2.5}},
                "SUV chosen": {"baseline": {"limit": "auto"}},
            },
            "labels": {"n=1": {"split.labels": 1}, "n=3": {"split.labels": 3}},
            "seed": {"0": {"seed": 0, "split.draw": 0}, "1": {"seed": 1, "split.draw": 1}},
        },
        "exclude": [{"method": "SUV 2.5", "labels": "n=3"}],
        "finetune": {"trainer": {"tracking": {"mode": "disabled"}}},
        "conditions": ["ct+pet", "pet"],
    }
    study = validate(StudySettings, values)
    cells = expand(study, tmp_path)
    assert run_cells(cells, {"mode": "disabled"}, report=lambda text: None) == []
    found = write_report(study, tmp_path, read(cells))
    assert {row.condition for row in found.rows} == {"ct+pet", "pet"}
    lines = dict(curves(found))
    assert set(lines) == {"method: SUV 2.5", "method: SUV chosen"}
    (first, last) = lines["method: SUV 2.5"]
    assert (first[0], last[0]) == (1.0, 3.0)
    assert first[1:] == last[1:], "no label moves it"
    assert "SUV chosen" in found.page.read_text(encoding="utf-8")
