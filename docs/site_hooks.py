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


def on_startup(**_: Any) -> None:
    """Figures of notebooks go into the page, whatever the environment says."""
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"


def on_files(files: Files, config: Any) -> Files:
    """Add the adopted files."""
    for page, origin in ORIGINS.items():
        if (ROOT / origin).exists():
            files.append(File.generated(config, page, abs_src_path=str(ROOT / origin)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links as they work in the site; no list of pages beside a page that has no neighbours."""
    if page.parent is None:
        page.meta.setdefault("hide", ["navigation"])
    here = page.file.src_uri
    origin = ORIGINS.get(here, posixpath.join("docs", here))
    return relinked(markdown, origin, here)


def relinked(markdown: str, origin: str, here: str) -> str:
    """The text of ``origin``, a file of the repository, with its links as they are to be at ``here`` in the site."""
    fenced = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(
        text
        if text.startswith("```")
        else re.sub(r"\]\(([^)\s]+)\)", lambda found: f"]({leading(found[1], origin, here)})", text)
        for text in fenced
    )


def leading(link: str, origin: str, here: str) -> str:
    """What ``link`` in the file ``origin`` is to be at ``here``."""
    target, _, anchor = link.partition("#")
    if ":" in target or not target:
        return link
    meant = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
    after = f"#{anchor}" if anchor else ""
    if meant not in ADOPTED and not meant.startswith("docs/"):
        return f"{REPOSITORY}{meant}{after}"
    place = ADOPTED.get(meant, meant.removeprefix("docs/"))
    return posixpath.relpath(place, posixpath.dirname(here) or ".") + after


def on_page_content(content: str, page: Any, config: Any, files: Files) -> str:
    """Maths as MathML; a table that is too wide scrolls, by keyboard too."""
    here = page.file.src_uri
    if here.endswith(".ipynb"):
        return in_notebook(content, here)
    content = re.sub(
        r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>',
        lambda found: mathml(found[2], block=found[1] == "div"),
        content,
        flags=re.DOTALL,
    )
    return content.replace('<div class="highlight"><pre>', '<div class="highlight"><pre tabindex="0">')


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Without the script's question to GitHub for the number of stars, and with a name for the search."""
    named = output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )
    return named.replace(' data-md-component="source"', "")


def in_notebook(content: str, here: str) -> str:
    """A notebook's HTML with its links and maths as those of pages, and without what would fetch a script."""

    def link(found: re.Match[str]) -> str:
        leads = leading(html.unescape(found[1]), f"docs/{here}", here)
        return (
            f'<a href="{html.escape(re.sub(r"[.](md|ipynb)(?=#|$)", ".html", leads) if "://" not in leads else leads)}"'
        )

    content = re.sub(r'<a href="([^"]*)"', link, content)
    content = content.replace('<div class="highlight-ipynb', '<div tabindex="0" class="highlight-ipynb')
    content = re.sub(r"<script[^>]*(?:src=|MathJax).*?</script>", "", content, flags=re.DOTALL | re.IGNORECASE)
    pieces = re.split(r"(<pre.*?</pre>|<code.*?</code>|<svg.*?</svg>|<script.*?</script>|<style.*?</style>|<[^>]+>)",
                      content, flags=re.DOTALL)  # fmt: skip
    text = [piece if piece.startswith("<") else _inline(piece) for piece in pieces]
    return "".join(text)


def _inline(text: str) -> str:
    text = re.sub(r"\$\$(.+?)\$\$", lambda found: mathml(found[1], block=True), text, flags=re.DOTALL)
    return re.sub(r"(?<![\\\w$])\$([^\s$](?:[^$]*[^\s$])?)\$(?!\w)", lambda found: mathml(found[1]), text)


def mathml(latex: str, block: bool = False) -> str:
    """``latex``, with HTML's entities in it, as MathML, with what ``latex2mathml`` gets wrong put right.

    :raises ValueError: on a command that it does not know.
    """
    text = re.sub(r"\\(?:mathrm|operatorname\*?)\{([^{}]*)\}", _upright, html.unescape(latex).strip())
    text = re.sub(r"\\arg\s*\\(max|min)", r"\\\1", text.replace(r"\sim", "\u223c"))
    found: str = convert(text, display="block" if block else "inline")
    found = found.replace("<mi>\u223c</mi>", "<mo>\u223c</mo>").replace("<mi>&#x0223C;</mi>", "<mo>\u223c</mo>")
    found = found.replace('display="block"', 'display="block" tabindex="0"')  # may be wide: scrolled by keyboard, too
    if r"\arg" in latex:
        found = re.sub(r"<(m[io])>(max|min)</\1>", r"<\1>arg \2</\1>", found)
    found = re.sub(r"(?<!<msub>)<mi>log</mi>(?!<mo)", '<mi>log</mi><mspace width="0.17em"/>', found)
    if "\\" in found:
        raise ValueError(f"maths: a command that latex2mathml does not know, in {latex}")
    return found


def _upright(found: re.Match[str]) -> str:
    return r"\text{" + found[1].replace(r"\,", " ") + "}"
