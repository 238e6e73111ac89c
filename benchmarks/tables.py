"""Write the tables and pictures of the documentation from `results/*.json`.

`python benchmarks/tables.py` fills what stands between `<!-- NAME -->` and `<!-- end NAME -->` in
README.md and docs/*.md, and draws docs/pictures/performance_*.png. `--quick` prints the targets and
tables of `make bench` instead, and writes nothing.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import scaling
from targets import RESULTS, TARGETS, row_of, rows_of

ROOT = Path(__file__).parent.parent
FILES = (
    "README.md",
    "docs/performance.md",
    "docs/scaling.md",
    "docs/fusion.md",
    "docs/pretraining.md",
    "docs/transfer.md",
)
COMPARED = ("startup", "data", "transport", "preparing", "resampling", "epoch", "pretext")
COMPARED += ("epoch_wall", "prediction", "evaluating", "encoders", "one_patch")
MEASURED = (*COMPARED, "fusion", "growth", "scale", "memory_use", "training_memory")
MEASURED += ("processes", "scale_flow", "study", "time_to_quality")


def three(values: Sequence[float]) -> str:
    """Return a median with its range."""
    low, middle, high = map(short, values)
    return f"{middle} ({low} to {high})"


def short(value: float) -> str:
    """Return three digits of a number, all of one above a thousand."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def compared(folder: Path, names: Sequence[str] = COMPARED) -> str:
    """Return every comparison: what ours costs, and how often that its peers cost."""
    lines = ["| work | hilum, ms | relative CPU time (peer / hilum) |", "| --- | --- | --- |"]
    for name in names:
        for row in rows_of(name, folder):
            if "times_ours" not in row:
                continue
            first, *_ = row["ms"]
            named = "" if first == "hilum" else f"{first}: "
            others = "; ".join(f"{way} **{three(t)}**" for way, t in row["times_ours"].items())
            lines.append(f"| {row['what']} | {named}{three(row['ms'][first])} | {others} |")
    return "\n".join(lines)


def targets(folder: Path) -> str:
    """Return what was wanted and what was found."""
    head = ["| measure | target | median (range) | |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *(target.line(folder) for target in TARGETS)])


def machines(folder: Path) -> str:
    """Return which machine and versions each file of results is from."""
    lines = ["| results | machine | torch | nnU-Net | MONAI |", "| --- | --- | --- | --- | --- |"]
    for file in [folder / f"{name}.json" for name in sorted(MEASURED)]:
        if not file.is_file():
            continue
        about = json.loads(file.read_text())
        has = about.get("versions", {})
        versions = " | ".join(has.get(name, "") for name in ("torch", "nnunetv2", "monai"))
        lines.append(f"| `{file.stem}.json` | {about['machine']} | {versions} |")
    return "\n".join(lines)


def costs(folder: Path) -> str:
    """Return what each fusion strategy costs."""
    lines = [
        "| strategy | parameters | Gflop forward | peak memory, batch 1 / 2 | step, times early |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows_of("fusion", folder):
        if row.get("against") == "early":
            lines.append(
                f"| `{row['strategy']}` | {row['parameters'] / 1e6:.2f} M | {row['gflop']:.0f} "
                f"| {row['peak_gib']:.2f} / {row['peak_gib_batch_2']:.2f} GiB "
                f"| {three(row['times_ours'][row['strategy']])} |"
            )
    return "\n".join(lines)


def tasks(folder: Path) -> str:
    """Return what a step of each pretext task costs, and of what it is compared with."""
    lines = ["| step | other | relative CPU time (other / step) |", "| --- | --- | --- |"]
    for row in rows_of("pretext", folder):
        for way, times in row["times_ours"].items():
            first = next(iter(row["ms"]))
            what = f"`{first}`" if way in row["what"] else row["what"]
            name = f"`{way}`" if way in row["what"] else way
            lines.append(f"| {what} | {name} | {three(times)} |")
    return "\n".join(lines)


def training_memory(folder: Path) -> str:
    """Return the peak memory of training."""
    lines = ["| training | peak, MiB | its own, MiB |", "| --- | --- | --- |"]
    for row in rows_of("training_memory", folder):
        for way, mib in row["mib"].items():
            lines.append(f"| {way} | {three(mib)} | {three(row['mib_of_its_own'][way])} |")
    return "\n".join(lines)


def equality(folder: Path) -> str:
    """Return how far imported features are from their source's."""
    lines = [
        "| source | maps compared | largest difference | largest value |",
        "| --- | --- | --- | --- |",
    ]
    for row in rows_of("equality", folder):
        apart = f"{row['apart']:.1e}" if row["apart"] else "0"
        values = f"{apart} | {row['largest']:.1f}"
        lines.append(f"| `{row['what']}` | {row['features']} | {values} |")
    return "\n".join(lines)


def growth(folder: Path) -> str:
    """Return growth with the patch, the modalities, the threads and the cohort."""
    lines = ["| what | of | cost |", "| --- | --- | --- |"]
    for row in [*rows_of("growth", folder), *rows_of("processes", folder)]:
        key = next((k for k in ("side", "modalities", "threads") if k in row), "")
        if "ms" in row and key:
            peak = f", peak {row['peak_mib']:.0f} MiB" if "peak_mib" in row else ""
            lines.append(f"| {row['what']} | {row[key]} {key} | {three(row['ms'])} ms{peak} |")
        elif "rate" in row:
            lines.append(
                f"| {row['what']} | {row['threads']} threads | {three(row['rate'])} patches/s |"
            )
        elif "share" in row:
            lines.append(
                f"| {row['what']} | {row['threads']} threads | {100 * row['share']:.1f} % |"
            )
    for row in rows_of("scale", folder):
        per, opens = row["ms per patch"], row["seconds to open"]
        text = f"{three(per)} ms a patch, {opens:g} s to open, {row['MB for it all']:g} MB"
        lines.append(f"| read from {row['what']} | | {text} |")
    for row in rows_of("memory_use", folder):
        lines.append(f"| {row['what']} | five parts | {', '.join(map(str, row['mib']))} MiB |")
    return "\n".join(lines)


def flow(folder: Path) -> str:
    """Return what whole commands cost at each size of the cohort, and a further case."""
    sizes: dict[str, list[tuple[int, dict]]] = {}
    for row in rows_of("scale_flow", folder):
        name, size = row["what"].removesuffix(" cases").rsplit(", ", 1)
        sizes.setdefault(name, []).append((int(size), row))
    head = "| command | cases | processor time, s | a case more, ms | peak, MiB |"
    lines = [head, "| --- | --- | --- | --- | --- |"]
    for name, rows in sizes.items():
        columns = [
            [f"{size:,}" for size, _ in rows],
            [f"{row['cpu_s']:.1f}" for _, row in rows],
            [short(row["growth, ms a case"]) for _, row in rows[1:]],
            [f"{row['peak MiB']:,}" for _, row in rows],
        ]
        lines.append(f"| {name} | " + " | ".join(" / ".join(c) for c in columns) + " |")
    return "\n".join(lines)


def quality(folder: Path) -> str:
    """Return the Dice of each tool after each length of training."""
    names = ("arm", "processor minutes", "by the clock", "steps", "Dice (95 %)")
    names += ("less that of nnU-Net, hilum's plan", "patients without nodes who are marked")
    lines = [f"| {' | '.join(names)} |", "|" + " --- |" * len(names)]
    for row in rows_of("time_to_quality", folder):
        clock = ", ".join(f"{minutes:.3g}" for minutes in row["wall minutes"])
        steps = ", ".join(f"{number:,}" for number in row["steps"])
        dice, apart, marked = "undefined", "", ""
        if row["dice"] is not None:
            dice = f"**{row['dice']:.3f}**{ends(row['dice, 95 %'])}"
            counts = zip(row["marked without nodes"], row["without nodes"], strict=True)
            marked = ", ".join(f"{some} of {all_}" for some, all_ in counts)
        if row.get("difference") is not None:
            apart = f"{row['difference']:+.3f}{ends(row['difference, 95 %'], '+.3f')}"
        columns = (row["arm"], f"{row['minutes']:g}", clock, steps, dice, apart, marked)
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def ends(values: Sequence[float | None], form: str = ".3f") -> str:
    """Return the ends of an interval in brackets, if it has any."""
    known = [format(value, form) for value in values if value is not None]
    return f" [{', '.join(known)}]" if len(known) == 2 else ""


def parallel(folder: Path) -> str:
    """Return data-parallel efficiency."""
    lines = ["| step | 1 process, s | 2 processes, s | efficiency |", "| --- | --- | --- | --- |"]
    for row in rows_of("processes", folder):
        one, two = (three(row["s_per_step"][n]) for n in "12")
        lines.append(f"| {row['what']} | {one} | {two} | {three(row['efficiency'])} |")
    return "\n".join(lines)


def summary(folder: Path) -> str:
    """Return the few figures of the README."""
    picks = (
        ("loading and augmentation", "data", "loader with nnU-Net's augmentation, 2 x 96^3"),
        ("preparing a case", "preparing", "prepare a case"),
        ("a step of fine-tuning, data included", "epoch", "a training step of an epoch"),
        ("predicting a case", "prediction", "96 x 96 x 128"),
        ("all metrics of a case", "evaluating", "all metrics of a case of 160 x 192 x 192, 10"),
    )
    lines = ["| on one core | relative CPU time, peer / hilum |", "| --- | --- |"]
    for text, name, begins in picks:
        row = row_of(name, begins, folder)
        if row is not None:
            peers = {w: t for w, t in row["times_ours"].items() if not w.startswith("hilum")}
            found = "; ".join(f"{way} {three(t)}" for way, t in peers.items())
            lines.append(f"| {text} | {found} |")
    return "\n".join(lines)


BLOCKS: dict[str, Callable[[Path], str]] = {
    "targets": targets,
    "compared": compared,
    "machines": machines,
    "cost table": costs,
    "equality": equality,
    "tasks": tasks,
    "training memory": training_memory,
    "growth": growth,
    "flow": flow,
    "quality": quality,
    "parallel": parallel,
    "summary": summary,
    "storage": scaling.storage,
    "hours": scaling.hours,
    "efficiency": scaling.efficiency,
}


def filled(text: str, folder: Path = RESULTS) -> str:
    """Return a page with every block made anew from the results."""
    for name, make in BLOCKS.items():
        pattern = re.compile(rf"<!-- {name} -->.*?<!-- end {name} -->", re.DOTALL)
        if pattern.search(text):
            block = f"<!-- {name} -->\n{make(folder)}\n<!-- end {name} -->"
            text = pattern.sub(lambda _, block=block: block, text)
    return text


def main(quick: bool) -> None:
    """Fill every page, or print."""
    if quick:
        folder = RESULTS / "quick"
        print("\n\n".join([targets(folder), compared(folder), growth(folder)]))
        return
    for name in FILES:
        page = ROOT / name
        if page.is_file():
            page.write_text(filled(page.read_text()))
    from plots import draw

    for file in draw(RESULTS, ROOT / "docs" / "pictures"):
        print(f"drew {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main("--quick" in sys.argv)
