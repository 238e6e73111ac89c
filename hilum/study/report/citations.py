"""What a study should cite, as text and as BibTeX: the methods that its runs used."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hilum.core.citation import Reference
from hilum.core.registry import Table
from hilum.encoders import ENCODERS
from hilum.fusion import STRATEGIES
from hilum.losses import LOSSES
from hilum.pretrain import TASKS

TABLES: tuple[Table, ...] = (ENCODERS, STRATEGIES, TASKS, LOSSES)
"""Where the methods of a run are; the class of each says what to cite."""

ALWAYS: dict[str, Reference] = {
    "dscagg": Reference(
        "Andrearczyk, V. and others", "Overview of the HECKTOR Challenge at MICCAI 2022",
        "HECKTOR", 2022,
    ),
    "fpv": Reference(
        "Gatidis, S. and others",
        "Results from the autoPET Challenge on Fully Automated Lesion Segmentation in Oncologic "
        "PET/CT Imaging",
        "Nature Machine Intelligence", 2024,
    ),
    "monai": Reference("Cardoso, M. J. and others", "MONAI", "", 2022, "arXiv:2211.02701"),
    "holm": Reference(
        "Holm, S.", "A Simple Sequentially Rejective Multiple Test Procedure",
        "Scandinavian Journal of Statistics", 1979,
    ),
    "random_effects": Reference(
        "Obuchowski, N. A. and Rockette, H. E.",
        "Hypothesis Testing of Diagnostic Accuracy for Multiple Readers and Multiple Tests: An "
        "ANOVA Approach with Dependent Observations",
        "Communications in Statistics: Simulation and Computation", 1995,
    ),
    "pseudovalues": Reference(
        "Dorfman, D. D. and Berbaum, K. S. and Metz, C. E.",
        "Receiver Operating Characteristic Rating Analysis: Generalization to the Population of "
        "Readers and Patients with the Jackknife Method",
        "Investigative Radiology", 1992,
    ),
    "bootstrap": Reference(
        "Owen, A. B.", "The Pigeonhole Bootstrap", "Annals of Applied Statistics", 2007
    ),
    "equivalence": Reference(
        "Schuirmann, D. J.",
        "A Comparison of the Two One-Sided Tests Procedure and the Power Approach for Assessing "
        "the Equivalence of Average Bioavailability",
        "Journal of Pharmacokinetics and Biopharmaceutics", 1987, "doi:10.1007/BF01068419",
    ),
    "ranking": Reference(
        "Wiesenfarth, M. and others",
        "Methods and Open-Source Toolkit for Analyzing and Visualizing Challenge Results",
        "Scientific Reports", 2021, "arXiv:1910.05121",
    ),
}  # fmt: skip
"""What every report uses."""


def cited(names: Iterable[str]) -> dict[str, Reference]:
    """Return the references for these methods and for what every report uses."""
    found = {name: ref for name in dict.fromkeys(names) if (ref := reference(name))} | ALWAYS
    seen: set[Reference] = set()
    return {k: r for k, r in found.items() if not (r in seen or seen.add(r))}


def reference(name: str) -> Reference | None:
    """Return what the class of a method says to cite, read from its source."""
    for table in TABLES:
        if name in table and (told := table.facts(name).values.get("citation")):
            return Reference(*told)
    return None


def bibtex(names: Iterable[str]) -> str:
    """Return a BibTeX file for these methods."""
    refs = cited(names).items()
    return "\n\n".join(ref.bibtex(re.sub(r"\W+", "_", name)) for name, ref in refs) + "\n"
