"""A publication, as a line of text and as BibTeX."""

from __future__ import annotations

from typing import NamedTuple

JOURNALS = (
    "IEEE",
    "Journal",
    "Analysis",
    "Nature",
    "TMLR",
    "Reports",
    "Annals",
    "Radiology",
    "Graphics",
)
JOURNALS += ("Communications",)
"""What the name of a journal has, and no conference's."""


class Reference(NamedTuple):
    """One publication.

    Attributes:
        authors: As BibTeX wants them; "others" for the rest.
        title: Of the publication.
        venue: Journal or conference; empty for a preprint.
        year: Of publication.
        where: `arXiv:...` or `doi:...`; empty if neither.
    """

    authors: str
    title: str
    venue: str
    year: int
    where: str = ""

    def text(self) -> str:
        """Return one line for a list of references."""
        first = self.authors.split(" and ")[0].split(",")[0]
        many = " et al." if " and " in self.authors else ""
        venue = f"{self.venue} {self.year}" if self.venue else str(self.year)
        return f"{first}{many}, {self.title}, {venue}" + (f", {self.where}" if self.where else "")

    def bibtex(self, key: str) -> str:
        """Return a BibTeX entry."""
        kind, place = ("misc", "") if not self.venue else ("inproceedings", "booktitle")
        if any(word in self.venue for word in JOURNALS):
            kind, place = "article", "journal"
        fields = {"author": self.authors, "title": f"{{{self.title}}}", "year": str(self.year)}
        if place:
            fields[place] = self.venue
        if self.where.startswith("arXiv:"):
            fields |= {"eprint": self.where[6:], "archiveprefix": "arXiv"}
        elif self.where.startswith("doi:"):
            fields["doi"] = self.where[4:]
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@{kind}{{{key},\n{body}\n}}"
