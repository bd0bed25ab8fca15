"""The page of a run in a real headless browser: words, another problem, sorting, colours, keyboard, who can read it.

``python -m pytest tests/reports/test_page_in_a_browser.py``; skipped without playwright (extra ``browser``) or a
browser.  ``--basetemp FOLDER`` keeps the screenshots.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from probact.reports.page.data import run_data
from probact.reports.page.page import page
from probact.reports.posterior_file import finite
from tests.helpers.browser import PHONE, WIDE, Opened, needed, opened, serious_findings
from tests.helpers.pages import reported, whole_tree

SECONDS, MEGABYTES = 2.0, 3.0


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needed()
    path = tmp_path_factory.mktemp("pages") / "report.html"
    path.write_text(page([reported(num_chains=3)]))
    return path


@pytest.fixture
def shown(file: Path) -> Iterator[Opened]:
    with opened(file, offline=True) as one:
        yield one
        assert one.complaints == []
        assert set(one.requested) == {file.as_uri()}


def reading(page_: Any, name: str) -> str:
    return str(page_.locator(f'[data-reading="{name}"]').inner_text())


def test_words_come_first(shown: Opened) -> None:
    words = shown.page.inner_text("main")
    run = reported(num_chains=3)
    assert run.summary.stopping.verdict in words
    assert words.index("What was asked") < words.index(run.summary.stopping.verdict) < words.index("Tables")
    assert "3 training seeds" not in words  # folded up
    shown.page.click("summary")
    assert "3 training seeds" in shown.page.inner_text("main")


def test_another_problem(shown: Opened) -> None:
    of = run_data(reported(num_chains=3).tree, {})
    rows = shown.page.locator('[data-rows="stops"] tr')
    slider = shown.page.locator('[data-control="problem"]')
    slider.focus()
    shown.page.keyboard.press("Home")
    assert f"Problem no. {of['kept'][0]}, 1 of 40" in reading(shown.page, "problem")
    assert rows.nth(3).inner_text().split("\t")[1] == str(of["chains"][0]["oracle"][0])
    shown.page.keyboard.press("ArrowRight")
    assert f"Problem no. {of['kept'][1]}, 2 of 40" in reading(shown.page, "problem")
    shown.page.click('[data-control="harder"]')
    assert f"Problem no. {of['kept'][2]}, 3 of 40" in reading(shown.page, "problem")
    shown.page.select_option('[data-control="seed"]', "2")
    assert rows.nth(0).inner_text().split("\t")[1] == str(of["chains"][2]["own"][2])
    shown.page.locator('[data-control="step"]').focus()
    shown.page.keyboard.press("Home")
    loss = of["chains"][2]["loss"][2][0]
    assert f"At step 1: loss {loss:.5g} " in reading(shown.page, "step")


def test_figures_answer_the_pointer(shown: Opened) -> None:
    problem = shown.page.locator('[data-figure="problem"] svg')
    problem.scroll_into_view_if_needed()
    problem.hover(position={"x": 400, "y": 150})
    tip = shown.page.locator("#tip")
    assert tip.is_visible()
    assert tip.inner_text().startswith("step ")
    before = reading(shown.page, "problem")
    shown.page.locator('[data-figure="gaps"] svg').click(position={"x": 70, "y": 200})
    assert reading(shown.page, "problem") != before
    assert shown.page.locator("tr.picked").count() == 1
    shown.page.locator(".long tbody th button").nth(5).click()
    assert "6 of 40 from easy to hard" in reading(shown.page, "problem")
    stops = shown.page.locator('[data-figure="stops"] circle')
    assert stops.count() == 41  # a point a problem, and a ring


CELLS = "head => [...head.closest('table').tBodies[0].rows].map((row) => row.cells[head.cellIndex].textContent)"


def read_as_number(text: str) -> float | None:
    """A cell as what it sorts by: ``1,024``, ``0.5 ±1e-2`` and ``no. 7`` are numbers, ``best`` is 0 from the best."""
    if text in ("best", "diverged"):
        return 0.0 if text == "best" else math.inf
    try:
        return float(text.removeprefix("no. ").replace(",", "").split("±")[0])
    except ValueError:
        return None


def sorts(head: Any) -> bool:
    """A click on the head sorts its column up, a key down, numbers before what is none; whether an order changed."""
    seen, button = [head.evaluate(CELLS)], head.locator("button")
    acts = {
        "ascending": button.click,
        "descending": partial(button.press, "Enter"),
        "again": partial(button.press, " "),
    }
    for direction, act in acts.items():
        act()
        up = direction != "descending"
        assert head.get_attribute("aria-sort") == ("ascending" if up else "descending")
        cells = head.evaluate(CELLS)
        numbers = [read_as_number(text) for text in cells]
        found = [number for number in numbers if number is not None]
        assert found == sorted(found, reverse=not up), (cells, direction)
        assert None not in numbers[: len(found)], cells
        assert sorted(cells) == sorted(seen[0])
        seen.append(cells)
    assert head.locator("xpath=..").locator('th:not([aria-sort="none"])').count() == 1
    return any(order != seen[0] for order in seen)


def test_every_table_sorts_by_every_head(tmp_path: Path) -> None:
    here = {"Python": "3.11.7", "torch": "2.13.0", "cores": "2"}
    runs = [reported("b-10", 3, environment=here), reported("b-9", tree=whole_tree(off=2))]
    (tmp_path / "two.html").write_text(page(runs))
    with opened(tmp_path / "two.html", offline=True) as one:
        tables = one.page.locator("table").all()
        assert len(tables) == 2 + 8 + 8  # of both runs side by side, and of each
        for table in tables[:10]:
            heads = table.locator("thead th").all()
            assert all(head.inner_text().strip() for head in heads)
            changed = [sorts(head) for head in heads]
            assert any(changed), table.inner_text()
        assert one.complaints == []


def test_runs_sort_by_the_numbers_in_their_names(tmp_path: Path) -> None:
    (tmp_path / "two.html").write_text(page([reported("b-10"), reported("b-9")]))
    with opened(tmp_path / "two.html", offline=True) as one:
        head = one.page.locator("table").first.locator("thead th").first
        head.locator("button").click()
        assert head.evaluate(CELLS) == ["b-9", "b-10"]


def test_the_stops_of_another_problem_stay_sorted(shown: Opened) -> None:
    head = shown.page.locator("table.plain thead th", has_text="step")
    head.locator("button").click()
    head.locator("button").click()
    for _ in range(3):
        shown.page.click('[data-control="harder"]')
        steps = [int(text) for text in head.evaluate(CELLS)]
        assert steps == sorted(steps, reverse=True)


def test_colours_can_be_chosen(shown: Opened) -> None:
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    light = shown.page.evaluate(paper)
    shown.page.select_option("#theme", "dark")
    dark = shown.page.evaluate(paper)
    assert light == "rgb(255, 255, 255)" != dark
    shown.page.reload()
    assert shown.page.evaluate(paper) == dark
    shown.page.select_option("#theme", "")
    shown.page.emulate_media(color_scheme="dark")
    assert shown.page.evaluate(paper) == dark
    shown.page.select_option("#theme", "light")
    assert shown.page.evaluate(paper) == light


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_everybody_can_read_it(size: tuple[int, int], dark: bool, file: Path, tmp_path: Path) -> None:
    with opened(file, size=size, dark=dark, offline=True) as one:
        for summary in one.page.locator("summary").all():
            summary.click()
        one.page.locator(".long").scroll_into_view_if_needed()  # it is laid out when it is near
        assert serious_findings(one.page) == []
        assert one.page.evaluate("document.documentElement.scrollWidth") == size[0]
        picture = tmp_path / "page.png"
        one.page.screenshot(path=str(picture), full_page=True)
        assert picture.stat().st_size > 50_000
        assert one.complaints == []


def test_without_a_script(file: Path) -> None:
    with opened(file, java_script_enabled=False) as one:
        words = one.page.text_content("main")
        assert "The figures need JavaScript" in words
        assert "no. 7" in words


def test_runs_side_by_side_and_without_halting(tmp_path: Path) -> None:
    (tmp_path / "two.html").write_text(page([reported("a"), reported("b", tree=whole_tree(learned=False))]))
    with opened(tmp_path / "two.html", offline=True) as one:
        assert one.page.locator("article").count() == 2
        assert one.page.locator("svg[role=img]").count() == 7 + 5
        assert serious_findings(one.page) == []
        assert one.complaints == []


def test_a_diverged_run_draws_no_numbers_that_are_none(tmp_path: Path) -> None:
    tree = whole_tree()
    tree["constant_data"]["loss_path"][:] = math.inf
    run = reported(tree=tree)
    records = [
        {**one, "loss": math.nan, "mean_halting": math.nan, "validation": one["validation"] and math.nan}
        for one in run.records["seed 0"]
    ]
    (tmp_path / "lost.html").write_text(page([replace(run, records={"seed 0": records}), replace(run, records={})]))
    with opened(tmp_path / "lost.html", offline=True) as one:
        one.page.wait_for_selector('[data-figure="training"] svg')
        assert "The losses are not finite: all 40 held-out problems diverged" in one.page.inner_text("main")
        assert "NaN" not in one.page.inner_html("main")
        assert one.complaints == []


def test_seeds_are_named_and_a_single_validation_is_seen(tmp_path: Path) -> None:
    run = reported(num_chains=2)
    records = {label: [dict(one) for one in chain] for label, chain in run.records.items()}
    records["seed 0"][-1] |= {"amortisation_gap": 0.25, "horizon_gap": 0.5}
    (tmp_path / "one.html").write_text(page([replace(run, records=records)]))
    with opened(tmp_path / "one.html", size=PHONE, offline=True) as one:
        assert one.page.locator('[data-figure="gap_curve"] circle').count() == 1
        assert one.page.locator('[data-legend="halting"]').inner_text().split("\n")[:2] == ["seed 0", "seed 1"]
        stops = one.page.locator("table.plain")
        wide = stops.evaluate("(table) => [table.scrollWidth, table.parentElement.clientWidth]")
        assert wide[0] <= wide[1]  # no column of it is out of sight
        assert one.complaints == []


@pytest.mark.parametrize("other", ["budget", "patience"])
def test_a_plain_rule_is_drawn_once(other: str, tmp_path: Path) -> None:
    tree = whole_tree(learned=False)
    tree["constant_data"]["stop_own"][:] = tree["constant_data"][f"stop_{other}"].values
    tree.attrs["stop_is_learned"] = 0
    (tmp_path / "plain.html").write_text(page([reported(tree=tree)]))
    with opened(tmp_path / "plain.html", offline=True) as one:
        assert one.page.locator('[data-rows="stops"] tr').count() == 3
        assert f"best {other}" not in one.page.locator('[data-rows="stops"]').inner_text()
        assert one.complaints == []


def test_a_large_run_is_light_and_quick(tmp_path: Path) -> None:
    """Three chains of 1,024 problems, each with 50 steps."""
    tree = whole_tree(3, num=1024, horizon=50)
    path = tmp_path / "large.html"
    path.write_text(page([reported(num_chains=3, tree=tree)]))
    assert finite(tree).sizes["optimizee"] == 1024
    assert path.stat().st_size < MEGABYTES * 1e6
    taken = []
    with opened(path, offline=True) as one:
        for _ in range(5):
            begun = time.perf_counter()
            one.page.reload(wait_until="load")
            one.page.wait_for_selector('[data-figure="training"] svg')
            taken.append(time.perf_counter() - begun)
    print(f"{path.stat().st_size / 1e6:.2f} MB, open after {min(taken):.2f} s")
    waiting = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # for a core, on a busy machine
    assert min(taken) < SECONDS * waiting, taken
