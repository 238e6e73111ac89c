"""A folder belongs to the command that made it, and to one process at a time."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from hilum.core.errors import RunError
from hilum.core.files import write_json
from hilum.core.outputs import OWNER, check_output, check_output_file, output, owner_of


def refused(out: Path, command: str = "mine", **how: Any) -> str:
    before = sorted(str(path) for path in out.rglob("*")) if out.is_dir() else []
    with pytest.raises(RunError) as caught, output(out, command, **how):
        raise AssertionError("the command must not begin")
    assert before == (sorted(str(path) for path in out.rglob("*")) if out.is_dir() else [])
    return str(caught.value)


def test_new_empty_and_own_folders_are_given(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new/deep", "empty", "empty"):
        with output(tmp_path / name, "mine") as folder:
            assert folder == tmp_path / name
            write_json(folder / "result.json", 1)
        assert owner_of(folder) == "mine"
        assert sorted(p.name for p in folder.iterdir()) == [OWNER, "result.json"]


def test_strangers_files_and_results_of_others_are_refused_and_stay(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("years")
    text = refused(tmp_path / "work")
    assert "or an earlier result of hilum mine, found thesis.tex; choose another" in text
    with output(tmp_path / "other", "theirs") as folder:
        write_json(folder / "result.json", 1)
    assert "found a result of hilum theirs" in refused(tmp_path / "other")
    (tmp_path / "file").write_text("1")
    assert "must be a folder" in refused(tmp_path / "file")


def test_a_result_of_before_marks_is_known_by_its_file(tmp_path: Path) -> None:
    write_json(tmp_path / "old" / "mine.json", 1)
    assert "found mine.json" in refused(tmp_path / "old")
    check_output(tmp_path / "old", "mine", earlier="mine.json")
    check_output(tmp_path / "old", "mine", earlier=lambda folder: folder.name == "old")
    with output(tmp_path / "old", "mine", earlier="mine.json"):
        pass
    assert owner_of(tmp_path / "old") == "mine"
    assert "hilum mine" in refused(tmp_path / "old", "theirs", earlier="mine.json")


def test_what_a_command_reads_is_never_its_output(tmp_path: Path) -> None:
    write_json(tmp_path / "in" / "scan.json", 1)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for out, given in (("in", "in"), ("link", "in"), (".", "in"), ("in", "link")):
        text = refused(tmp_path / out, inputs=[tmp_path / given])
        assert "must not replace what the command reads" in text
    check_output(tmp_path / "in" / "results", "mine", inputs=[tmp_path / "in"])


def test_a_command_that_fails_at_once_leaves_no_mark(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        with pytest.raises(ZeroDivisionError), output(tmp_path / name, "mine"):
            _ = 1 / 0
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]
    assert not list((tmp_path / "empty").iterdir())


def test_two_processes_never_have_one_folder(tmp_path: Path) -> None:
    with output(tmp_path / "x", "mine"):
        context = multiprocessing.get_context("fork")
        queue: Any = context.Queue()
        other = context.Process(target=_try, args=(tmp_path / "x", queue))
        other.start()
        assert "must not be in use" in queue.get(timeout=20)
        other.join()
    with output(tmp_path / "x", "mine"):
        pass


def _try(out: Path, queue: Any) -> None:
    try:
        with output(out, "mine"):
            queue.put("given")
    except RunError as error:
        queue.put(str(error))


def test_leftovers_are_cleared_and_do_not_count_as_content(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for name in (".part-0-0", ".part-1-1.json", "inner"):
        (tmp_path / "x" / name).mkdir()
    (tmp_path / "x" / "inner" / ".part-2-2").touch()
    (tmp_path / "x" / "inner").rename(tmp_path / "x" / ".part-3-3")
    with output(tmp_path / "x", "mine"):
        pass
    assert os.listdir(tmp_path / "x") == [OWNER]  # noqa: PTH208


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with output(tmp_path / "out", "mine") as folder:
        write_json(folder / "a.json", 1)
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk" / "a.json").is_file()


def test_a_file_of_another_origin_is_refused(tmp_path: Path) -> None:
    def ours(file: Path) -> bool:
        return file.read_text() == "ours"

    check_output_file(tmp_path / "a", "mine", ours)
    (tmp_path / "a").write_text("ours")
    check_output_file(tmp_path / "a", "mine", ours)
    for make in (lambda path: path.write_text("theirs"), lambda path: path.mkdir()):
        (tmp_path / "a").unlink()
        make(tmp_path / "a")
        with pytest.raises(RunError, match="new file, or an earlier one of hilum mine"):
            check_output_file(tmp_path / "a", "mine", ours)
