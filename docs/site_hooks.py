"""What ``mkdocs build`` does beside rendering ``docs/``: pages from elsewhere, links that leave, maths as MathML.

- ``ADOPTED`` files of the repository, the changelog say, become pages of the site where they stand.
- A link to any other file of the repository leads to it on GitHub.
- ``$...$`` and ``$$...$$`` become MathML while building, in pages and in notebooks, so that no script is fetched.
"""

from __future__ import annotations

import html
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = "https://github.com/probact/probact/blob/main/"
CARDS = sorted(path.stem for path in (ROOT / "probact" / "weights").glob("*.md") if path.stem != "README")

ADOPTED = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",  # what the site says in its place
    "benchmarks/README.md": "all-benchmarks.md",
    "benchmarks/results/calibration.png": "images/calibration.png",
    **{f"probact/weights/{name}.md": f"cards/{name}.md" for name in CARDS},
}
"""File of the repository: its place in the site."""

ORIGINS = {page: origin for origin, page in ADOPTED.items() if origin != "README.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add the adopted files."""
    for page, origin in ORIGINS.items():
        if (ROOT / origin).exists():
            files.append(File.generated(config, page, abs_src_path=str(ROOT / origin)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links as they work in the site."""
    here = page.file.src_uri
    origin = ORIGINS.get(here, posixpath.join("docs", here))
    return relinked(markdown, origin, here)


def relinked(markdown: str, origin: str, here: str) -> str:
    """The text of ``origin``, a file of the repository, with its links as they are to be at ``here`` in the site."""

    def link(found: re.Match[str]) -> str:
        target, _, anchor = found[2].partition("#")
        if "://" in target or target.startswith("mailto:") or not target:
            return found[0]
        meant = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        if meant in ADOPTED:
            place = ADOPTED[meant]
        elif meant.startswith("docs/"):
            place = meant.removeprefix("docs/")
        else:
            return f"{found[1]}({REPOSITORY}{meant}{'#' * bool(anchor)}{anchor})"
        relative = os.path.relpath(place, posixpath.dirname(here) or ".")
        return f"{found[1]}({relative}{'#' * bool(anchor)}{anchor})"

    fenced = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(text if text.startswith("```") else re.sub(r"(\])\(([^)\s]+)\)", link, text) for text in fenced)


def on_page_content(content: str, page: Any, config: Any, files: Files) -> str:
    """Maths as MathML; a table that is too wide scrolls, by keyboard too."""
    if page.file.src_uri.endswith(".ipynb"):
        return in_notebook(content)
    content = re.sub(
        r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>',
        lambda found: mathml(found[2], block=found[1] == "div"),
        content,
        flags=re.DOTALL,
    )
    return content.replace('<div class="highlight"><pre>', '<div class="highlight"><pre tabindex="0">')


def in_notebook(content: str) -> str:
    """A notebook's HTML with its maths as MathML and without what would fetch a script."""
    content = re.sub(r"<script[^>]*(?:src=|MathJax).*?</script>", "", content, flags=re.DOTALL | re.IGNORECASE)
    pieces = re.split(r"(<pre.*?</pre>|<code.*?</code>|<svg.*?</svg>|<script.*?</script>|<style.*?</style>|<[^>]+>)",
                      content, flags=re.DOTALL)  # fmt: skip
    text = [piece if piece.startswith("<") else _inline(piece) for piece in pieces]
    return "".join(text)


def _inline(text: str) -> str:
    text = re.sub(r"\$\$(.+?)\$\$", lambda found: mathml(found[1], block=True), text, flags=re.DOTALL)
    return re.sub(r"(?<![\\\w$])\$([^\s$](?:[^$]*[^\s$])?)\$(?!\w)", lambda found: mathml(found[1]), text)


def mathml(latex: str, block: bool = False) -> str:
    """``latex``, with HTML's entities in it, as MathML."""
    return convert(html.unescape(latex).strip(), display="block" if block else "inline")
