"""The site, built as in CI but for the notebooks: it is whole, asks nobody for anything, and everybody can read it."""

from __future__ import annotations

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

from tests.helpers.browser import PHONE, WIDE, needed, opened, serious_findings

pytest.importorskip("mkdocs", reason="mkdocs comes with the extra 'docs'")
pytest.importorskip("latex2mathml", reason="latex2mathml comes with the extra 'docs'")
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))
import site_hooks  # noqa: E402

FETCHING = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src")}
HARMLESS = {"canonical", "edit", "next", "prev", "alternate"}


class Said(NamedTuple):
    links: set[str]
    fetched: set[str]
    anchors: set[str]


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.said = Said(set(), set(), set())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value is not None}
        self.said.anchors.update(found[name] for name in ("id", "name") if name in found)
        if tag == "a" and "href" in found:
            self.said.links.add(found["href"])
        for name, value in found.items():
            if (tag, name) in FETCHING and found.get("rel") not in HARMLESS:
                self.said.fetched.add(value)


def read(page: Path) -> Said:
    reader = Reader()
    reader.feed(page.read_text())
    return reader.said


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``PROBACT_SITE``, built already, or else one built now: every warning is an error, and notebooks are not run."""
    if built := os.environ.get("PROBACT_SITE"):
        return Path(built)
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PROBACT_EXECUTE_NOTEBOOKS": "false"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """The site on this machine."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_links_lead_somewhere(site: Path) -> None:
    pages = {page: read(page) for page in site.rglob("*.html") if page.name != "404.html"}
    assert len(pages) > 50
    dead = []
    for page, said in pages.items():
        for link in said.links | said.fetched:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            lost = target.suffix == ".html" and anchor and anchor not in pages.get(target, said).anchors
            if not target.exists() or (lost and not anchor.startswith("__")):
                dead.append(f"{page.relative_to(site)}: {link}")
    assert dead == []


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert {one for one in read(page).fetched if urlsplit(one).netloc} == set(), page.name


def test_maths_and_notebooks_are_rendered(site: Path) -> None:
    maths = (site / "maths.html").read_text()
    assert maths.count("<math ") > 60
    for page in [site / "maths.html", site / "index.html", *site.glob("tutorials/*.html")]:
        text = re.sub(r"<(pre|code|script|style|annotation).*?</\1>", "", page.read_text(), flags=re.DOTALL)
        assert re.findall(r"\\\(|\\\[|\$\$|\\(?:frac|mid|sum|log|theta)\b", text) == [], page.name


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_everybody_can_read_it(address: str, size: tuple[int, int], dark: bool) -> None:
    needed()
    with opened(f"{address}/index.html", size=size, dark=dark) as at:
        assert serious_findings(at.page) == []
        assert at.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert at.complaints == []
        assert {request for request in at.requested if not request.startswith((address, "data:", "blob:"))} == set()


def test_search_finds(address: str) -> None:
    needed()
    with opened(f"{address}/index.html") as at:
        at.page.fill("input[name=query]", "evidence")
        at.page.wait_for_selector(".md-search-result__item", timeout=20_000)
        assert "evidence" in at.page.inner_text(".md-search-result__list").lower()


def test_links_that_leave_the_pages() -> None:
    markdown = "[a](../CHANGELOG.md#x) [b](../examples/svi.py) [c](letters.md) [d](https://x.y) [e](#here)\n"
    assert site_hooks.relinked(markdown, "docs/maths.md", "maths.md") == (
        f"[a](changelog.md#x) [b]({site_hooks.REPOSITORY}examples/svi.py) [c](letters.md) [d](https://x.y) [e](#here)\n"
    )
    assert site_hooks.relinked("[a](docs/letters.md)", "CONTRIBUTING.md", "contributing.md") == "[a](letters.md)"
    shown = site_hooks.relinked("[a](../../docs/letters.md)", "probact/weights/general.md", "cards/general.md")
    assert shown == "[a](../letters.md)"
    code = "```sh\n[a](../CHANGELOG.md)\n```"
    assert site_hooks.relinked(code, "docs/maths.md", "maths.md") == code


def test_maths() -> None:
    assert "<mfrac>" in site_hooks.mathml(r"\frac{1}{1 - \nu}")
    assert 'display="block"' in site_hooks.mathml("T", block=True)
    assert "\u223c" in site_hooks.mathml(r"T \sim p(T)")
    assert "arg min" in site_hooks.mathml(r"\arg\min_t x")
    with pytest.raises(ValueError, match="does not know"):
        site_hooks.mathml(r"\nosuchcommand x")


def test_notebooks() -> None:
    here = "tutorials/pyro-by-hand.ipynb"
    shown = site_hooks.in_notebook(
        "<p>of $p(t)$ it costs 5$ and</p><pre>$HOME and $PATH</pre><p>$$x &lt; 1$$</p>", here
    )
    assert shown.count("<math ") == 2
    assert "<pre>$HOME and $PATH</pre>" in shown
    assert site_hooks.in_notebook('<script src="https://cdn.x/MathJax.js"></script>a', here) == "a"
    links = '<a href="../letters.md#words">w</a><a href="#x">x</a><a href="../../examples/svi.py">y</a>'
    assert re.findall('href="(.*?)"', site_hooks.in_notebook(links, here)) == [
        "../letters.html#words", "#x", f"{site_hooks.REPOSITORY}examples/svi.py"
    ]  # fmt: skip
