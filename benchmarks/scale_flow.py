"""Whole commands over a cohort of many cases: does the cost of a case stay, and the memory?

`python benchmarks/scale_flow.py` takes 125, 500 and 2,000 cases through check, prepare (killed when
half of them are there, then run again to the end, then run again with nothing to do), a pretraining
and the plan of a study, each in a process of its own; and starts a training on a store of 10,000.
Cases are hard links to the files of four small synthetic patients, so their number is real and
their size is not. `growth` is the cost of a further case between a size and the one before it, in
processor time, which other work on the machine changes little; flat is a growth that stays.
Sizes that `results/scale_flow.json` has already, and this run has not, stay there, so that each can
be measured by itself. All need about six minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from scale import multiply
from timing import RESULTS, write

from hilum.core.case import Case
from hilum.core.geometry import Grid
from hilum.core.seeds import numpy_generator
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import write_manifest

SIZES = (125, 500, 2000)
MANY = 10_000
RESULT = RESULTS / "scale_flow.json"
SIDES, SPACING = (20, 24, 28), (4.0, 4.0, 4.0)
NETWORK = "encoder={name: resenc, features: [4, 8], blocks: [1, 1]}"
RUN = [NETWORK, "patch=[16,16,16]", "trainer.batch_size=1", "trainer.tracking.mode=disabled"]
TASK = "task.name=masked_autoencoder"  # noise has no places for nodes
STUDY = """name: scale
store: {store}
factors:
  fusion: {{early: {{fusion: {{name: early}}}}, late: {{fusion: {{name: late}}}}}}
  split.labels: [1, 5]
  seed: [0, 1, 2]
finetune: {{trainer: {{steps: 10}}, patch: [16, 16, 16]}}
"""


class Took(NamedTuple):
    """What a command took.

    Attributes:
        cpu: Processor seconds.
        wall: Seconds by the clock.
        peak: Most MiB that the process held.
        code: How it ended; negative for a signal.
    """

    cpu: float
    wall: float
    peak: float
    code: int

    def then(self, other: Took) -> Took:
        """Return both, one after the other."""
        cpu, wall = self.cpu + other.cpu, self.wall + other.wall
        return Took(cpu, wall, max(self.peak, other.peak), other.code)


def main() -> None:
    """Measure each size, the smallest first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="numbers; 0: none")
    parser.add_argument("--steps", type=int, default=200, help="of the pretraining")
    parser.add_argument(
        "--many", type=int, default=MANY, help="cases of the store to start on; 0: none"
    )
    parser.add_argument("--smoke", action="store_true", help="print the rows; write no result")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []

    def add(name: str, size: int, took: Took) -> None:
        seconds = {"cpu_s": round(took.cpu, 2), "wall_s": round(took.wall, 1)}
        load = {"load": round(os.getloadavg()[0], 1)}
        what = f"{name}, {size} cases"
        rows.append({"what": what, **seconds, "peak MiB": round(took.peak), **load})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        patients = [patient(folder / "made", number) for number in range(4)]
        for size in sorted(set(given.sizes) - {0}):
            for name, took in flow(folder, patients, size, given.steps):
                add(name, size, took)
        if given.many:
            one = folder / "one"
            made = write_manifest(folder / "one.csv", patients[:1])
            command("prepare", made, out=one, more=SPACE)
            for size in (min(100, given.many), given.many):
                multiply(one, folder / f"many{size}", size)
                took = train(folder / f"many{size}", folder / f"run{size}", 1)
                add("start of a training and one step", size, took)
    if given.smoke:
        print(json.dumps(with_growth(rows)))
        return
    kept = json.loads(RESULT.read_text())["rows"] if RESULT.is_file() else []
    new = {row["what"] for row in rows}
    rows = with_growth([*(row for row in kept if row["what"] not in new), *rows])
    print(f"wrote {write('scale_flow', 'python benchmarks/scale_flow.py', rows)}")


def with_growth(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows by their command and size, with what a further case costs."""
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for row in rows:
        name, size = row["what"].removesuffix(" cases").rsplit(", ", 1)
        found.setdefault(name, []).append((int(size), row))
    result = []
    for own in found.values():
        own.sort(key=lambda pair: pair[0])
        for number, (size, row) in enumerate(own):
            row.pop("growth, ms a case", None)
            if number:
                less, before = own[number - 1]
                more = 1000 * (row["cpu_s"] - before["cpu_s"]) / (size - less)
                row["growth, ms a case"] = round(more, 2)
            result.append(row)
    return result


SPACE = ["spacing=[4,4,4]", "modalities=[ct,pet]"]


def flow(folder: Path, patients: list[Case], size: int, steps: int) -> Iterator[tuple[str, Took]]:
    """Return what each command took."""
    place = folder / str(size)
    cases = [linked(place / "raw", patients[n % len(patients)], n) for n in range(size)]
    whole = write_manifest(place / "manifest.csv", cases)
    store, study = place / "store", place / "study.yaml"
    # Links of one file are duplicates, which check reports: its code says so.
    yield "check", command("check", whole, out=place / "check", codes=(0, 1, 2))
    killed = command("prepare", whole, out=store, more=SPACE, half=size // 2, codes=(-9,))
    then = command("prepare", whole, out=store, more=SPACE)
    yield "prepare, killed at half and resumed", killed.then(then)
    yield "prepare, all there", command("prepare", whole, out=store, more=SPACE)
    yield f"pretrain, {steps} steps", train(store, place / "run", steps)
    study.write_text(STUDY.format(store=store))
    yield "study plan", command("study", "plan", study, out=place / "study")


def train(store: Path, out: Path, steps: int) -> Took:
    """Return the cost of a pretraining."""
    own = [*RUN, f"store={store}", f"trainer.steps={steps}", f"trainer.validate_every={steps}"]
    return command("pretrain", out=out, more=[*own, TASK])


def command(
    *words: str | Path,
    out: Path,
    more: Sequence[str] = (),
    codes: Sequence[int] = (0,),
    half: int | None = None,
) -> Took:
    """Return what a command took as a user runs it; killed when `half` cases are in its store."""
    parts = [sys.executable, "-P", "-m", "hilum", *map(str, words), "--out", str(out)]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([*parts, *more], stdout=subprocess.DEVNULL, stderr=errors)
        if half is not None:
            threading.Thread(target=kill_at, args=(process, out, half), daemon=True).start()
        _, status, used = os.wait4(process.pid, 0)
        wall, code = time.perf_counter() - began, os.waitstatus_to_exitcode(status)
        process.returncode = code
        errors.seek(0)
        if code not in codes:
            text = errors.read().decode()[-1500:]
            raise SystemExit(f"{' '.join(map(str, words))} ended with {code}: {text}")
    return Took(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024, code)


def kill_at(process: subprocess.Popen[bytes], store: Path, cases: int) -> None:
    """Kill a process when its store has so many cases."""
    while process.returncode is None:
        if sum(1 for _ in store.glob("*/case.json")) >= cases:
            os.kill(process.pid, signal.SIGKILL)
            return
        time.sleep(0.02)


def patient(folder: Path, number: int) -> Case:
    """Write a small pair with a node."""
    grid, draw = Grid.from_spacing(SIDES, SPACING), numpy_generator(number, "scale")
    index = np.stack(np.meshgrid(*map(np.arange, SIDES), indexing="ij"), -1)
    body = np.linalg.norm(index - np.array(SIDES) / 2, axis=-1) < 9
    node = np.linalg.norm(index - np.array(SIDES) / 2 - draw.uniform(-3, 3, 3), axis=-1) < 2.5
    noise = draw.normal(0, 15, SIDES)
    ct = np.where(body, 20 + 60 * node + noise, -1000).astype(np.float32)
    pet = np.where(body, 1 + 7 * node + 0.02 * np.abs(noise), 0).astype(np.float32)
    arrays = {"ct": ct, "pet": pet, "label": node.astype(np.uint8)}
    files = {
        name: write_volume(folder / f"{number}_{name}.nii.gz", array, grid)
        for name, array in arrays.items()
    }
    label = files.pop("label")
    return Case(f"case_{number}", f"patient_{number}", files, label, "", "train")


def linked(folder: Path, source: Case, number: int) -> Case:
    """Return a case of its own whose files are links to a patient's."""
    name = f"case_{number:05d}"
    (folder / name).mkdir(parents=True)

    def link(file: Path) -> Path:
        new = folder / name / file.name
        os.link(file, new)
        return new

    assert source.label is not None
    files = {key: link(file) for key, file in source.volumes.items()}
    split = "test" if number % 10 == 0 else "train"
    return Case(name, f"patient_{number:05d}", files, link(source.label), "", split)


if __name__ == "__main__":
    main()
