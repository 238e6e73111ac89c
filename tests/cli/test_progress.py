"""Progress has one look: a line now and then with what is left, of the count that runs."""

from __future__ import annotations

import pytest

from hilum.cli import console


def test_a_second_count_is_estimated_by_its_own_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: clock)
    with console.progress("import") as show:
        for second in (50.0, 100.0):
            clock = second
            show(int(second), 100, "headers")
        clock = 112.0
        show(1, 4, "case_0")
        clock = 115.0
        show(2, 4, "case_1")  # too soon for a line
        clock = 148.0
        show(4, 4, "case_3")
    assert capsys.readouterr().out.splitlines() == [
        "import 50/100, 50 s, about 50 s left (headers)",
        "import 100/100, 100 s, about 0 s left (headers)",
        "import 1/4, 12 s, about 36 s left (case_0)",
        "import 4/4, 48 s, about 0 s left (case_3)",
    ]
