"""One HTML page of one run or several, which needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

from probact.reports.compared_text import notes
from probact.reports.page import tables
from probact.reports.page.colors import variables
from probact.reports.page.data import PATH_NUMBERS, run_data
from probact.reports.page.elements import data_element, element, marked, paragraph, section
from probact.reports.page.run_section import Reported, run_section
from probact.reports.runs_compared import compared
from probact.support.version import __version__

SCRIPTS = ("figures.js", "heatmap.js", "run.js", "sorting.js", "page.js")


def page(runs: Sequence[Reported]) -> str:
    """The page, as text.

    :param runs: one or more; several of the same problems are compared first.
    """
    numbers = PATH_NUMBERS // len(runs)
    sources = [f"data-{number}" for number in range(len(runs))]
    content = [] if len(runs) == 1 else [section("Side by side", _side_by_side(runs), 2), _contents(runs)]
    for number, (run, source) in enumerate(zip(runs, sources, strict=True)):
        head = "" if len(runs) == 1 else element("h2", escape(run.name), id=f"run-{number}")
        content.append(run_section(run, source, head, 2 if len(runs) == 1 else 3, numbers))
    data = [
        data_element(run_data(run.tree, run.records, numbers), source)
        for run, source in zip(runs, sources, strict=True)
    ]
    heading = title(runs)
    return Template(_part("page.html")).substitute(
        title=escape(heading),
        heading=marked(heading),
        version=escape(__version__),
        colors=variables(),
        style=_part("page.css"),
        content="\n".join(content),
        data="\n".join(data),
        script="\n".join(map(_part, SCRIPTS)),
    )


def title(runs: Sequence[Reported]) -> str:
    """Of the page."""
    if len(runs) > 1:
        return f"{len(runs)} runs side by side"
    attrs = runs[0].tree.attrs
    stop = f"with {attrs['halting']} halting" if attrs["halting"] != "none" else "without a halting posterior"
    return f"{attrs['rule']} on {attrs['family']}, {stop}"


def _side_by_side(runs: Sequence[Reported]) -> str:
    seconds = {run.name: run.summary.seconds for run in runs}
    try:
        found = compared({run.name: run.tree for run in runs}, seconds=seconds)
    except ValueError as error:
        return paragraph(f"These runs cannot be compared problem by problem ({error}); each stands by itself below.")
    first, *others = notes(found)
    below = "".join(paragraph(note, class_="quiet") for note in others)
    return paragraph(first, class_="verdict") + tables.compared(found) + below


def _contents(runs: Sequence[Reported]) -> str:
    links = [element("a", escape(run.name), href=f"#run-{number}") for number, run in enumerate(runs)]
    return element("nav", element("ul", "".join(element("li", link) for link in links)), aria_label="runs")


def _part(name: str) -> str:
    return files("probact.reports.page").joinpath(name).read_text(encoding="utf-8")
