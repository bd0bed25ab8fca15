"""The page of a run: its data are those of the run's files, its words stand in HTML, and names cannot break it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import xarray as xr

from probact.reports.page import colors
from probact.reports.page.data import UNIT, curve, run_data, shown_problems
from probact.reports.page.page import page
from probact.reports.posterior_file import finite
from probact.support.palette import STYLES
from tests.helpers.pages import reported, whole_tree
from tests.helpers.trees import PRICE, made_up_records

VOID = {"meta", "link", "input", "br", "option"}


class Reader(HTMLParser):
    """What is not closed, addresses that would be loaded, text outside scripts, and each script of data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.words: list[str] = []
        self.data: dict[str, Any] = {}
        self.source = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "href") and value and value[0] not in "#d"]
        if tag == "script":
            self.source = given.get("id") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            if self.source:
                self.data[self.source] = json.loads(data)
        elif not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.mark.parametrize(("chains", "kappa"), [(1, 1.0), (3, 1.0), (2, 0.1)])
def test_the_data_are_those_of_the_file(chains: int, kappa: float) -> None:
    tree = whole_tree(chains, kappa=kappa, off=2)
    found, data = run_data(tree, {"seed 0": made_up_records()}), finite(tree)
    assert sorted(found["kept"]) == data.optimizee.values.tolist()
    best = data.difficulty.sel(optimizee=found["kept"]).values
    assert (np.diff(best) >= 0).all()
    assert found["price"] == pytest.approx(PRICE, rel=1e-5)
    for number, chain in enumerate(found["chains"]):
        of = data.isel(chain=number).sel(optimizee=found["kept"])
        np.testing.assert_allclose(chain["loss"], of.loss_path.values, atol=PRICE / 20)
        np.testing.assert_allclose(np.array(chain["q"]) / UNIT, of.halt_pmf.values, atol=0.5 / UNIT + 1e-12)
        np.testing.assert_allclose(np.array(chain["exact"]) / UNIT, of.tempered_pmf.values, atol=0.5 / UNIT + 1e-12)
        np.testing.assert_allclose(chain["amortisation_gap"], of.amortisation_gap.values, rtol=1e-4)
        for stop in ("own", "budget", "patience", "oracle"):
            assert chain[stop] == of[f"stop_{stop}"].values.tolist()
    np.testing.assert_allclose(np.array(found["prior"]) / UNIT, data.prior_pmf.values, atol=0.5 / UNIT + 1e-12)


def test_many_problems_are_thinned_out_evenly() -> None:
    tree = whole_tree(2, num=100)
    everyone = shown_problems(tree).optimizee.values
    few = shown_problems(tree, numbers=20 * 3 * 2 * 30).optimizee.values
    assert len(everyone) == 100
    assert len(few) == 20
    places = [everyone.tolist().index(one) for one in few]
    assert places[0] == 0
    assert places[-1] == 99
    assert set(np.diff(places)) <= {5, 6}
    assert "20 of 100 problems are shown here" in Reader(page_of_few(tree)).text


def page_of_few(tree: xr.DataTree) -> str:
    from probact.reports.page.run_section import run_section

    return run_section(reported(tree=tree, num_chains=2), "data-0", numbers=20 * 3 * 2 * 30)


def test_a_learning_curve_keeps_its_validations() -> None:
    records = [{"step": step, "loss": float(step), "mean_halting": None, "validation": None} for step in range(1, 1001)]
    records[499]["validation"], records[999]["validation"] = 2.0, 3.0
    records[499] |= {"amortisation_gap": 0.25, "horizon_gap": 0.5}
    found = curve(records)
    assert len(found["step"]) <= 300
    assert found["validation"] == [[500, 2.0], [1000, 3.0]]
    assert found["kept"] == 500
    assert found["gap"] == [[500, 0.75]]
    assert found["loss"][0] == pytest.approx(np.mean(range(1, found["together"] + 1)))
    assert set(found["halting"]) == {None}
    assert curve([])["kept"] is None


@pytest.mark.parametrize("chains", [1, 3])
def test_a_page_stands_by_itself(chains: int) -> None:
    run = reported(num_chains=chains)
    read = Reader(text := page([run]))
    assert read.open == []
    assert read.loaded == []
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert run.summary.stopping.verdict in read.text
    assert "python cli.py fit --prior-nu 0.9" in read.text
    assert ("One training seed." in read.text) == (chains == 1)
    assert "Python 3.11.7" in read.text
    assert read.data["data-0"] == run_data(run.tree, run.records)


def test_numbers_can_be_read_without_a_script() -> None:
    run = reported()
    words, data = Reader(page([run])).words, finite(run.tree)
    stop = data.stop_own.values[0]
    place = words.index("no. 7")
    assert f"{stop[7]}" in words[place : place + 8]
    assert f"{run.summary.stopping.J:.4g}" in words
    assert f"{run.summary.amortisation_gap:.3f}" in words


def test_every_table_has_its_caption_inside() -> None:
    text = page([reported()])
    assert text.count("<table") == text.count("<caption><span>") > 5
    assert re.search(r"<table[^>]*><caption><span>The stops of this problem</span></caption><thead>", text)


def test_names_are_text() -> None:
    evil = "</script><script>alert(1)</script>&amp;`<b>`"
    tree = whole_tree()
    tree.attrs["family"], tree.attrs["objective"] = evil, evil
    run = replace(reported(evil, tree=tree, family=evil), config=evil, commands={evil: evil})
    text = page([run, replace(run, name=f"{evil} 2")])
    read = Reader(text)
    assert "<script>alert" not in text
    assert "<b>" not in text
    assert read.text.count("</script><script>alert(1)</script>") > 5
    assert read.data["data-0"]["objective"] == evil


def test_runs_side_by_side() -> None:
    one, other = reported("a"), reported("b", tree=whole_tree(off=1))
    read = Reader(page([one, other]))
    assert "2 runs side by side" in read.text
    assert "a and b cost the same" in read.text.replace("b and a", "a and b")
    assert set(read.data) == {"data-0", "data-1"}
    elsewhere = whole_tree()
    elsewhere.attrs["family"] = "another"
    apart = Reader(page([one, reported("c", tree=elsewhere)])).text
    assert "cannot be compared problem by problem" in apart
    assert "'made up' in a and 'another' in c" in apart


def test_a_run_without_halting_posterior() -> None:
    read = Reader(page([reported(tree=whole_tree(learned=False))]))
    assert read.data["data-0"]["chains"][0]["q"] is None
    assert "without a halting posterior" in read.text
    assert "amortisation gap" not in read.text


def test_a_file_without_stops() -> None:
    tree = whole_tree()
    data = tree["constant_data"].to_dataset().drop_vars(["stop_own", "stop_budget", "stop_patience"])
    tree["constant_data"] = xr.DataTree(data)
    read = Reader(page([reported(tree=tree)]))
    assert "does not say what its stop is worth" in read.text
    assert "own" not in read.data["data-0"]["chains"][0]


def test_diverged_problems_are_left_out_and_told() -> None:
    tree = whole_tree()
    path = tree["constant_data"]["loss_path"]
    path[0, :3, 5:] = np.inf
    read = Reader(page([reported(tree=tree)]))
    assert len(read.data["data-0"]["kept"]) == 37
    assert "3 of 40 held-out problems diverged" in read.text
    path[:] = np.inf
    nowhere = {"1": np.nan, "30": np.inf}
    read = Reader(page([reported(tree=tree, loss_at=nowhere, start_loss_at=nowhere)]))
    assert "The losses are not finite: all 40 held-out problems diverged" in read.text
    assert not re.search(r"\bnan\b|over 0 ", read.text)
    assert read.data["data-0"]["kept"] == []


@pytest.mark.parametrize("style", list(STYLES))
def test_text_stands_out_from_the_paper(style: str) -> None:
    """WCAG 2.2: 4.5 for text; 3 for what must be told apart from the paper."""

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    def contrast(a: str, b: str) -> float:
        low, high = sorted((luminance(a), luminance(b)))
        return (high + 0.05) / (low + 0.05)

    of = colors.colors(style)
    for text in ("ink", "quiet"):
        assert contrast(of[text], of["paper"]) > 4.5
        assert contrast(of[text], of["wash"]) > 4.5
    for line in ("learned", "exact", "budget", "patience", "own", "loss"):
        assert contrast(of[line], of["paper"]) > 3
