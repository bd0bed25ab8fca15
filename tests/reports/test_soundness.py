"""What is doubted of a run, and what is not: each fault planted in made-up files."""

from __future__ import annotations

import ast
import inspect
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from probact.reports import soundness
from probact.reports.halting_statistics import halting_statistics
from probact.reports.rows import worth_rows
from probact.reports.soundness import checks, doubts
from tests.helpers.pages import reported, whole_tree


def doubted(tree: xr.DataTree | None = None, num_chains: int = 3, records: Any = None, **changes: Any) -> set[str]:
    tree = whole_tree(num_chains) if tree is None else tree
    run = reported(tree=tree, num_chains=num_chains, **changes)
    found = checks(tree, halting_statistics(tree), run.summary, run.records if records is None else records)
    return {one.title for one in doubts(found)}


def said(tree: xr.DataTree, title: str) -> str:
    """The text of that check."""
    found = checks(tree, halting_statistics(tree), reported(tree=tree).summary, {})
    return next(one.text for one in found if one.title == title)


def changed(num_chains: int = 3, **tables: Any) -> xr.DataTree:
    """``whole_tree`` with tables changed by functions."""
    tree = whole_tree(num_chains)
    data = tree["constant_data"].to_dataset()
    tree["constant_data"] = xr.DataTree(data.assign({name: change(data) for name, change in tables.items()}))
    return tree


ALWAYS = {"Few problems", "Seeds disagree"}
"""Of what is made up: 40 problems, of seeds whose losses are not the same."""


def test_a_sound_run_is_hardly_doubted() -> None:
    assert doubted() - ALWAYS == set()


def test_few_seeds_and_problems() -> None:
    assert "Few seeds" in doubted(num_chains=1)
    assert "Few seeds" in doubted(num_chains=2)
    assert "Few problems" not in doubted(whole_tree(3, num=120))


def test_a_wide_gap() -> None:
    assert "A wide gap" not in doubted(changed(amortisation_gap=lambda data: 0 * data.elbo + 0.9))
    assert "A wide gap" in doubted(changed(amortisation_gap=lambda data: 0 * data.elbo + 1.1))


def test_halting_alike() -> None:
    alike = changed(stop_own=lambda data: 0 * data.stop_own + 9)
    assert "Halting alike for all problems" in doubted(alike)
    shuffled = changed(stop_own=lambda data: data.stop_own.copy(data=data.stop_own.values[:, ::-1]))
    assert "Halting nearly alike for all problems" in doubted(shuffled)


def test_a_horizon_that_is_too_small() -> None:
    late = changed(stop_oracle=lambda data: data.stop_oracle.where(data.optimizee >= 4, 30))
    assert "H may be too small" in doubted(late)


@pytest.mark.parametrize(("stop", "title"), [("budget", "best budget"), ("patience", "best patience")])
def test_a_stop_that_is_no_better(stop: str, title: str) -> None:
    level = changed(stop_own=lambda data: data[f"stop_{stop}"])
    assert f"No better than the {title}" in doubted(level)
    late = changed(stop_own=lambda data: 0 * data.stop_own + 29)
    assert f"Worse than the {title}" in doubted(late)
    assert said(late, f"Worse than the {title}").startswith(f"In loss and steps together worse than the {title}, by ")
    best = changed(stop_own=lambda data: data.stop_oracle)
    assert not {f"No better than the {title}", f"Worse than the {title}"} & doubted(best)


def test_a_plain_rule_is_not_compared_with_itself() -> None:
    tree = changed(stop_own=lambda data: data.stop_patience)
    tree.attrs["stop_is_learned"] = 0
    statistics = halting_statistics(tree)
    found = checks(tree, statistics, reported(tree=tree).summary, {})
    assert not [one for one in found if "patience" in one.title]
    assert [one for one in found if "budget" in one.title]
    assert "a plain rule stops, the best patience (hazard >= 0.05)." in statistics.stopping.verdict
    assert "against patience" not in statistics.stopping.verdict
    assert "level" not in statistics.stopping.verdict
    labels = [label for label, _ in worth_rows(statistics.stopping)]
    assert len([label for label in labels if "patience" in label]) == 1
    tree.attrs["stop_is_learned"] = 1
    assert "level with patience" in halting_statistics(tree).stopping.verdict


def test_a_training_that_was_still_gaining() -> None:
    def records(late: float) -> dict[str, list[dict[str, Any]]]:
        values = {25: 20.0, 50: 12.0, 75: 11.0, 100: late}
        return {"seed 0": [{"step": step, "validation": values.get(step)} for step in range(1, 101)]}

    assert "Training was still gaining" in doubted(records=records(10.5))
    assert "Training was still gaining" not in doubted(records=records(10.95))
    assert "Training was still gaining" not in doubted(records=records(11.5))
    never = {"seed 0": [{"step": step, "validation": None} for step in range(1, 101)]}
    assert "Hardly validated" in doubted(records=never)


def test_a_training_that_changed_nothing() -> None:
    title, same = "Training changed nothing", {"1": 16.0, "30": 10.5}
    assert title not in doubted()
    assert title in doubted(start_loss_at=same)
    assert title in doubted(records={"seed 0": []})
    frozen = whole_tree(3)
    frozen.attrs["settings"] = json.dumps({"freeze_rule": True})
    assert title not in doubted(frozen, start_loss_at=same)
    assert title not in doubted(loss_at=dict.fromkeys(same, math.nan), start_loss_at=dict.fromkeys(same, math.nan))


def test_every_doubt_stands_in_the_page_of_the_documentation() -> None:
    """The titles that this module gives to ``Check(False, ...)``, with each thing compared put in."""
    told = Path("docs/report.md").read_text().partition("## What it doubts")[2].partition("\n## ")[0]
    named = " ".join(line.split("|")[1] for line in told.splitlines() if line.startswith("| "))
    titles = doubts_in_source()
    assert len(titles) > 12
    assert [title for title in titles if title not in named] == []


def doubts_in_source() -> list[str]:
    """Of each doubt the words that do not depend on the run."""
    found = list[str]()
    for call in ast.walk(ast.parse(inspect.getsource(soundness))):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "Check":
            continue
        passed, title = call.args[:2]
        if isinstance(passed, ast.Constant) and passed.value is True:
            continue
        if isinstance(title, ast.JoinedStr):
            texts = [part.value for part in title.values if isinstance(part, ast.Constant)]
            found += [str(text).strip() for text in texts]
        else:
            found.append(str(ast.literal_eval(title)))
    return found


def test_what_was_lost() -> None:
    assert "Training lost batches" in doubted(updates=10, skipped=1)
    diverged = changed(loss_path=lambda data: data.loss_path.where(data.optimizee > 0, np.inf))
    assert "Problems diverged" in doubted(diverged)


def test_beside_adam() -> None:
    assert not [title for title in doubted() if "Adam" in title]
    assert "Worse than Adam at the end" in doubted(adam_loss_at={"1": 15.0, "30": 10.4})
    assert "The same as Adam at the end" in doubted(adam_loss_at={"1": 15.0, "30": 10.5})


def test_seeds_that_agree() -> None:
    def tree_of(shift: int) -> xr.DataTree:
        tree = whole_tree(3)
        draws = np.random.default_rng(0).integers(1, 10, tree["posterior"]["t"].shape)
        draws[1] += shift
        tree["posterior"]["t"].values = draws
        return tree

    assert "Seeds disagree" not in doubted(tree_of(0))
    assert "Seeds disagree" in doubted(tree_of(6))
