"""The report as a whole: every section, one self-contained file, open to every reader."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from hilum.core.errors import DataError
from hilum.core.files import read_json, write_json
from hilum.evaluation.charts.svg import COLOURS
from hilum.evaluation.html.parts import anchor
from hilum.evaluation.html.rendering import ROOT
from hilum.study.grid.cells import Cell, expand
from hilum.study.report import interval_chart as strips
from hilum.study.report.collecting import write_tables
from hilum.study.report.report import SECTIONS, write_report
from hilum.study.run import ledger
from hilum.study.settings import StudySettings

from ..conftest import make_store, tiny_study

VOID = {"meta", "img", "br", "i", "circle", "rect", "line", "polyline"}
ROWS = {"ct+pet": 0.0, "ct+pet, shift 5 mm": -0.1, "ct": -0.3}


def finish(cell: Cell, patient: str = "p") -> None:
    """Leave the files that a done cell leaves; Dice is better with more labels, and pretrained."""
    write_json(cell.folder / "cell.json", {})
    (cell.folder / "DONE").touch()
    key = "val/loss" if cell.stage == "pretrain" else "val/dice"
    lines = "".join(f'{{"step": {step}, "{key}": 0.{step}}}\n' for step in range(1, 9))
    (cell.folder / "metrics.jsonl").write_text(lines)
    if cell.stage == "pretrain":
        return
    level = cell.levels
    gain = 0.1 * (level["pretext"] != "scratch") + 0.05 * level.get("split.labels", 1)
    split = {
        "pool": ["case_0", "case_1"],
        "train": ["case_0"],
        "validation": [],
        "test": ["case_4"],
    }
    write_json(cell.folder / "split.json", split)
    about = {"seconds": 20, "parameters": 5e6, "flops": 3e9, "training_flops": 7e15}
    about |= {"cpu_seconds": 41, "gpu_seconds": 0.0, "best": 0.5, "best_step": 4}
    about |= {"steps": 8, "validations": 8, "val/patients": 2.0}
    write_json(cell.folder / "summary.json", about)
    test, matrix = {}, ["row,case,patient,dice"]
    for number in range(6):
        dice = 0.3 + gain + 0.02 * number + 0.01 * level.get("seed", 0)
        volume = {"intersection_ml": dice, "volume_ml": 1.0, "reference_volume_ml": 1.0}
        lesions = {"lesion_tp": 1.0, "lesion_fp": 0.0, "lesion_fn": 1.0, "lesions_lt5": 1.0}
        own = {"dice": dice, "found_lt5": 1.0, **volume, **lesions}
        test[f"case_{number}"] = {"patient": f"{patient}{number}", "metrics": own}
        matrix += [f'"{row}",case_{number},p{number},{dice + loss}' for row, loss in ROWS.items()]
    write_json(cell.folder / "test" / "metrics.json", {"ct+pet": test, "ct": test})
    (cell.folder / "robustness").mkdir()
    (cell.folder / "robustness" / "robustness_cases.csv").write_text("\n".join(matrix))
    for number in range(6):
        Image.new("RGB", (8, 8)).save(cell.folder / "test" / f"case_{number}.png")


@pytest.fixture
def asked(store: Path) -> StudySettings:
    found = tiny_study(store)
    factors = {**found.factors, "split.labels": [1, 3]}
    return tiny_study(store, factors=factors, question="Is <this> a question?")


@pytest.fixture
def html(asked: StudySettings, tmp_path: Path) -> str:
    return page(asked, tmp_path)


def page(asked: StudySettings, tmp_path: Path, patient: str = "p") -> str:
    cells = expand(asked, tmp_path, str)
    for cell in cells:
        cell.folder.mkdir(parents=True)
        finish(cell, patient)
    return write_report(asked, tmp_path, ledger.read(cells)).page.read_text()


class Reader(HTMLParser):
    """Collects what a browser and a screen reader look at; fails on a tag that is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID or tag == "i":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.seen if name == tag]


def test_every_section_is_there_and_the_navigation_leads_to_it(html: str) -> None:
    reader = Reader(html)
    places = [attrs["id"] for attrs in reader.all("section")]
    wanted = [anchor(title) for title in SECTIONS]
    assert places == wanted
    links = [a["href"] for a in reader.all("a") if (a["href"] or "").startswith("#")]
    assert links == ["#content", *(f"#{place}" for place in wanted)]
    assert "Is &lt;this&gt; a question?" in html


@pytest.mark.parametrize("part", ["pool", "train", "validation"])
def test_a_test_patient_in_another_part_of_any_cell_stops_the_report(
    asked: StudySettings, tmp_path: Path, part: str
) -> None:
    """The report claims that none is: it looks at every cell's own split, the last one's too."""
    cells = expand(asked, tmp_path)
    for cell in cells:
        cell.folder.mkdir(parents=True)
        finish(cell)
    tuned = [cell for cell in cells if cell.stage == "finetune"]
    page = write_report(asked, tmp_path, ledger.read(cells)).page.read_text()
    assert f"Leakage check on each of the {len(tuned)} cells: no test patient" in page
    file = tuned[-1].folder / "split.json"
    split = read_json(file)
    write_json(file, split | {part: [*split[part], *split["test"]]})
    with pytest.raises(DataError, match=f"no patient may be in test and {part}, found patient_4"):
        write_report(asked, tmp_path, ledger.read(cells))


@pytest.mark.parametrize("steps", [8, 9])
def test_what_cannot_be_concluded_is_read_from_the_cells(
    store: Path, tmp_path: Path, steps: int
) -> None:
    usual = tiny_study(store).finetune["trainer"]["steps"]
    long = {"trainer.steps": usual + steps - 8}
    runs = {f"r{n}": {"seed": n, "split": {"draw": n}} for n in range(3)}
    factors = {"pretext": {"scratch": {}, "longer": {"loss": "cc", **long}}, "run": runs}
    text = page(tiny_study(store, factors=factors), tmp_path)
    assert "3 seeds in 3 draws" in text
    assert "were drawn once" not in text
    assert "pretext: longer" in text
    assert "run: r0" not in text, "runs only repeat, whatever the factor's name"
    same = "Every arm had the same number of steps" in text
    assert same == (steps == 8)
    assert ("Arms were trained for" in text) != same
    assert "no cell of its own" not in text
    assert "Phantoms are not patients" not in text
    assert "wandb sync" not in text, "nothing was logged here"


def test_a_level_with_a_store_of_its_own_is_checked_there(store: Path, tmp_path: Path) -> None:
    other = make_store(tmp_path / "other", "of another site")
    sites = {"here": {}, "there": {"store": str(other)}}
    asked = tiny_study(store, factors={"pretext": {"scratch": {}}, "site": sites})
    text = page(asked, tmp_path)
    assert "store abc." in text
    assert "store of another site." in text
    assert "Leakage check on each of the 2 cells" in text


def test_what_was_logged_offline_can_be_sent_and_phantoms_are_named(
    store: Path, tmp_path: Path
) -> None:
    (tmp_path / "finetune" / "one" / "wandb" / "offline-run-1").mkdir(parents=True)
    text = page(tiny_study(store), tmp_path, patient="phantom_s1_")
    assert f"wandb sync {tmp_path}/finetune/*/wandb/offline-run-*" in text
    assert "Phantoms are not patients" in text


def test_it_is_one_file_that_asks_nothing_of_the_network(html: str) -> None:
    reader = Reader(html)
    assert reader.all("link") == []
    sources = [attrs["src"] or "" for attrs in reader.all("img")]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"(src|href)=.https?:|url\(|@import", html)


def test_pictures_tables_and_charts_say_what_they_are(html: str) -> None:
    reader = Reader(html)
    assert all(attrs["alt"] for attrs in reader.all("img"))
    assert all(attrs["role"] == "img" for attrs in reader.all("svg"))
    assert html.count("<svg") == len(re.findall(r"<svg[^>]*>.*?<title>[^<]+</title>", html))
    regions = [a for _, a in reader.seen if a.get("tabindex") == "0"]
    assert all(a["role"] == "region" and a["aria-label"] for a in regions)
    drawn = len(reader.all("img")) + html.count("<svg")
    assert len(reader.all("table")) + drawn == len(regions)
    assert all(a["scope"] in ("row", "col") for a in reader.all("th"))
    assert reader.all("html")[0]["lang"] == "en"


def luminance(colour: str) -> float:
    """Return relative luminance as WCAG 2.2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", ["light", "dark"])
def test_text_and_marks_stand_out(name: str) -> None:
    style = (ROOT / "evaluation" / "html" / f"{name}.css").read_text()
    scheme = dict(re.findall(r"--(\w+): (#\w{6});", style))
    for ink, ground in itertools.product(
        ("ink", "soft", "link", "good", "bad"), ("ground", "panel")
    ):
        assert contrast(scheme[ink], scheme[ground]) >= 4.5
    assert contrast(scheme["mark"], scheme["ground"]) >= 3
    assert contrast(scheme["mark"], scheme["bar"]) >= 3
    assert all(contrast(colour, scheme["ground"]) >= 3 for colour in COLOURS)


def test_the_robustness_matrix_is_paired_with_the_undisturbed_row(html: str) -> None:
    assert "ct+pet, shift 5 mm" in html
    assert "(-0.100 <small>[-0.100, -0.100]</small>)" in html


def test_cost_is_counted_operations_and_the_time_that_processors_worked(html: str) -> None:
    text = re.sub(r"<[^>]+>", " ", html)
    assert "training (PFLOPs)" in text
    assert re.search(r"5\.00\s+3\.0\s+7\s+41\s+0\.0", text)
    assert "training (s)" not in text
    assert "counted operations of fine-tuning" in text


def test_it_says_how_many_patients_chose_the_weights(html: str) -> None:
    assert "are the best of 8 validations on 2 validation patients: few, so chance" in html


def test_node_sizes_say_of_how_many_patients_and_few_nodes_admit_it(html: str) -> None:
    assert "(6 nodes of 6 patients)" in html
    low = (0.05 / 2) ** (1 / 6)
    assert f"1.00 <small>[{low:.2f}, 1.00]</small>" in html


def test_strips_place_values_by_their_share_of_the_width() -> None:
    [row] = [strips.Strip("a & b", 0.5, 0.25, 1.0)]
    drawn = strips.bars([row], "x")
    assert 'class="bar" style="width:50.00%"' in drawn
    assert 'class="span" style="left:25.00%;width:75.00%"' in drawn
    assert "a &amp; b" in drawn
    signed = strips.forest([row._replace(value=-0.5, low=-1.0, high=0.0, firm=False)], "x")
    assert 'class="dot open" style="left:25.00%"' in signed
    assert "-0.500 <small>[-1.000, +0.000]</small>" in signed


def test_the_tables_can_be_had_without_the_report(asked: StudySettings, tmp_path: Path) -> None:
    cells = expand(asked, tmp_path)
    for cell in cells:
        cell.folder.mkdir(parents=True)
        finish(cell)
    files = write_tables(asked, tmp_path, ledger.read(cells))
    names = ["results", "arms", "comparisons", "effects", "interactions", "ranking"]
    names += ["labels_needed", "robustness", "cost"]
    assert [file.stem for file in files] == names
    assert all(file.exists() for file in files)
    assert (tmp_path / "tables" / "robustness.tex").exists()
    assert not (tmp_path / "report.html").exists()
