"""Whole commands over a cohort of many cases: does the cost of a case stay, and the memory?

`python benchmarks/scale_flow.py` takes 200, 400, 800 and 2,000 cases through check, prepare (half
of them, then all: a run that goes on), a pretraining and the plan of a study, each in a process of
its own; and starts a training on a store of 10,000. Cases are hard links to the files of four small
synthetic patients, so their number is real and their size is not. `growth` is the cost of a further
case between a size and the one before it, in processor time, which other work on the machine
changes little.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from scale import multiply
from timing import write

from hilum.core.case import Case
from hilum.core.geometry import Grid
from hilum.core.seeds import numpy_generator
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import write_manifest

SIZES = (200, 400, 800, 2000)
MANY = 10_000
SIDES, SPACING = (20, 24, 28), (4.0, 4.0, 4.0)
NETWORK = "encoder={name: resenc, features: [4, 8], blocks: [1, 1]}"
RUN = [NETWORK, "patch=[16,16,16]", "trainer.batch_size=1", "trainer.tracking.mode=disabled"]
STUDY = """name: scale
store: {store}
factors:
  fusion: {{early: {{fusion: {{name: early}}}}, late: {{fusion: {{name: late}}}}}}
  split.labels: [1, 5]
  seed: [0, 1, 2]
finetune: {{trainer: {{steps: 10}}, patch: [16, 16, 16]}}
"""


def main() -> None:
    """Measure each size, the smallest first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="numbers of cases")
    parser.add_argument("--steps", type=int, default=200, help="of the pretraining")
    parser.add_argument("--many", type=int, default=MANY, help="cases of the store to start on")
    given = parser.parse_args()
    rows: list[dict[str, object]] = []
    before: dict[str, tuple[int, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        patients = [patient(folder / "made", number) for number in range(4)]
        for size in sorted(given.sizes):
            for name, (seconds, peak) in flow(folder, patients, size, given.steps).items():
                row = {"what": f"{name}, {size} cases", "cpu_s": round(seconds, 1)}
                if name in before:
                    less, cheaper = before[name]
                    growth = 1000 * (seconds - cheaper) / (size - less)
                    row["growth, ms a case"] = round(growth, 2)
                before[name] = size, seconds
                rows.append(row | {"peak MiB": round(peak)})
                print(rows[-1], file=sys.stderr, flush=True)
        one = folder / "one"
        command("prepare", manifest(folder / "one.csv", patients[:1]), out=one, more=SPACE)
        for size in (100, given.many):
            multiply(one, folder / f"many{size}", size)
            seconds, peak = train(folder / f"many{size}", folder / f"run{size}", 1)
            what = f"start of a training and one step, {size} cases"
            rows.append({"what": what, "cpu_s": round(seconds, 1), "peak MiB": round(peak)})
            print(rows[-1], file=sys.stderr, flush=True)
    print(f"wrote {write('scale_flow', 'python benchmarks/scale_flow.py', rows)}")


SPACE = ["spacing=[4,4,4]", "modalities=[ct,pet]"]


def flow(
    folder: Path, patients: list[Case], size: int, steps: int
) -> dict[str, tuple[float, float]]:
    """Return processor seconds and peak MiB of each command."""
    place = folder / str(size)
    cases = [linked(place / "raw", patients[n % len(patients)], n) for n in range(size)]
    half, whole = (manifest(place / f"{n}.csv", cases[:n]) for n in (size // 2, size))
    store, study = place / "store", place / "study.yaml"
    # Links of one file are duplicates, which check reports: its code says so, and is not looked at.
    found = {"check": command("check", whole, out=place / "check", codes=(0, 1, 2))}
    first = command("prepare", half, out=store, more=SPACE)
    then = command("prepare", whole, out=store, more=SPACE)
    again = command("prepare", whole, out=store, more=SPACE)
    found["prepare, in two parts"] = first[0] + then[0], max(first[1], then[1])
    found["prepare, all there"] = again
    found[f"pretrain, {steps} steps"] = train(store, place / "run", steps)
    study.write_text(STUDY.format(store=store))
    found["study plan"] = command("study", "plan", study, out=place / "study")
    return found


def train(store: Path, out: Path, steps: int) -> tuple[float, float]:
    """Return the cost of a pretraining."""
    own = [*RUN, f"store={store}", f"trainer.steps={steps}", f"trainer.validate_every={steps}"]
    return command("pretrain", out=out, more=own)


def command(
    *words: str | Path, out: Path, more: list[str] | None = None, codes: tuple[int, ...] = (0,)
) -> tuple[float, float]:
    """Return processor seconds and peak MiB of a command as a user runs it."""
    parts = [sys.executable, "-P", "-m", "hilum", *map(str, words), "--out", str(out)]
    process = subprocess.Popen(
        [*parts, *(more or [])], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    text = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    process.returncode = code
    if code not in codes:
        raise SystemExit(f"{' '.join(map(str, words))} ended with {code}: {text[-1500:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


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


def manifest(file: Path, cases: list[Case]) -> Path:
    """Write a manifest."""
    return write_manifest(file, cases)


if __name__ == "__main__":
    main()
