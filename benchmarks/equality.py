"""How far features of imported encoders are from those of the network that the weights are of.

`python benchmarks/equality.py` runs the tests of the imports, which build small networks by the
source's own classes, and writes the largest difference of any feature to `results/equality.json`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from timing import write

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Run the tests, and keep one row for each source."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes.jsonl"
        pytest = Path(sys.executable).parent / "pytest"
        subprocess.run(
            [pytest, "-q", "-p", "no:cacheprovider", "tests/exchange"],
            cwd=ROOT, env=os.environ | {"HILUM_EQUALITY": str(notes)}, check=True,
        )  # fmt: skip
        lines = [json.loads(line) for line in notes.read_text().splitlines()]
    rows: dict[str, dict[str, object]] = {}
    for line in lines:
        match = re.search(r"test_(\w+)\.py", line["test"])
        source = match[1] if match else line["test"]
        row = rows.setdefault(source, {"what": source, "features": 0, "apart": 0.0, "largest": 0.0})
        row["features"] = int(str(row["features"])) + 1
        for key in ("apart", "largest"):
            row[key] = max(float(str(row[key])), line[key])
    print(write("equality", "python benchmarks/equality.py", list(rows.values())))


if __name__ == "__main__":
    main()
