"""What MkDocs calls while it builds the site: pages from the code, formulas without a network."""

from __future__ import annotations

import html
import re
from pathlib import PurePosixPath
from typing import Any

import reference
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are written from the code."""
    for path, text in reference.pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository that are no pages into their paths."""

    def replaced(match: re.Match[str]) -> str:
        text, target = match[1], match[2]
        place = _inside(PurePosixPath(page.file.src_uri).parent, target)
        if place is None:
            return f"`{target.replace('../', '')}`"
        folder = any(uri.startswith(f"{place}/") for uri in files.src_uris)
        return f"{text} (`docs/{place}`)" if folder or place.startswith("tables") else match[0]

    return LINK.sub(replaced, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Write formulas as MathML, which browsers draw by themselves."""
    return FORMULA.sub(_mathml, html)


def _mathml(match: re.Match[str]) -> str:
    return convert(html.unescape(match[2]), display="block" if match[1] == "div" else "inline")


def _inside(folder: PurePosixPath, target: str) -> str | None:
    """Return a link's target from the top of the docs; nothing if it leads out of them."""
    parts: list[str] = list(folder.parts)
    for part in PurePosixPath(target).parts:
        if part != "..":
            parts.append(part)
        elif not parts:
            return None
        else:
            parts.pop()
    return "/".join(parts)
