"""Searches beside those that have nothing to train, and the ways to stop them."""

from __future__ import annotations

from probact.judging.comparison import Entry, compare, references
from probact.judging.problem_sets import held_out_problems, tuning_problems
from probact.judging.stops import own_kinds, stop_rules, stopped_baselines, verdicts
from probact.judging.trajectory import record
from probact.problems.base import FAMILIES
from probact.rules.base import RULES
from probact.runs.experiment import Experiment

SMALL = Experiment.create(family="gp-1d", horizon=8, validation_problems=8, test_problems=16)


def test_searches_are_compared_with_searches() -> None:
    known = references(FAMILIES["gp-1d"])
    assert {"gp-ei", "random-search"} <= set(known)
    assert "adam" not in known
    assert "gp-ei" not in references(FAMILIES["quadratic"])
    data = compare(SMALL, [known["gp-ei"], known["random-search"]], [2, 8], held_out_problems(SMALL))
    ei, random = data.loss.sel(at=8).mean("optimizee").values
    assert ei < random


def test_a_search_that_expects_gains_can_stop_by_them() -> None:
    test, tuning = held_out_problems(SMALL), tuning_problems(SMALL)
    rows = {
        name: {row.kind for row in stopped_baselines(Entry(name, "baseline"), SMALL, tuning, test, SMALL.step_cost)}
        for name in ("gp-ei", "random-search")
    }
    assert rows["gp-ei"] - rows["random-search"] == {"expected-improvement"}
    assert "gradient" not in rows["gp-ei"]
    paths = [record(RULES.build("gp-ei"), problems, 8) for problems in (test, tuning)]
    found = {verdict.kind: verdict for verdict in verdicts(*paths, SMALL.step_cost)}
    assert float(found["oracle"].J.mean()) <= float(found["expected-improvement"].J.mean())


def test_what_is_expected_is_read_by_those_alone_who_say_it() -> None:
    names = {kind.name for kind in stop_rules(followed=True, sees_gradient=False, expects=True)}
    assert "expected-improvement" in names
    assert "expected-improvement" not in {kind.name for kind in stop_rules(followed=True)}
    assert "expected-improvement" not in {kind.name for kind in own_kinds(followed=True, expects=True)}
