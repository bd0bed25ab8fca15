"""Runs compared, from files made up by hand: the same under ArviZ 0.23 and 1.x, and without torch."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from probact.reports.arviz_seam import convergence, convergence_of_problems, stacking_weights
from probact.reports.compared_figures import losses_and_costs
from probact.reports.compared_text import compared_table
from probact.reports.runs_compared import RunsCompared, compared
from probact.reports.style import styled
from tests.helpers.trees import NUM, PRICE, made_up_tree


def later(tree: xr.DataTree, steps: int) -> xr.DataTree:
    """The same run with a stop that comes ``steps`` later."""
    changed = tree.copy()
    data = changed["constant_data"].to_dataset()
    stop = np.minimum(data.stop_own + steps, data.sizes["step"])
    changed["constant_data"] = xr.DataTree(data.assign(stop_own=stop))
    return changed


def barely_worse(tree: xr.DataTree) -> xr.DataTree:
    """The same run with losses that noise moves, and by far less on average."""
    changed = tree.copy()
    data = changed["constant_data"].to_dataset()
    noise = np.random.default_rng(2).normal(size=(data.sizes["chain"], data.sizes["optimizee"], 1))
    changed["constant_data"] = xr.DataTree(data.assign(loss_path=data.loss_path + 0.5 * (noise - noise.mean()) + 1e-3))
    return changed


def on(tree: xr.DataTree, **settings: Any) -> xr.DataTree:
    changed = tree.copy()
    changed.attrs = {**tree.attrs, "settings": json.dumps(settings)}
    return changed


@pytest.fixture
def trees() -> dict[str, xr.DataTree]:
    first = made_up_tree(3)
    return {"late": later(first, 4), "early": first}


def test_numbers_are_those_of_a_loop(trees: dict[str, xr.DataTree]) -> None:
    found = compared(trees, seconds={"late": 7.0})
    best, other = found.runs
    assert (best.run, other.run, found.num_optimizees, found.price) == ("early", "late", NUM, pytest.approx(PRICE))
    J: dict[str, list[list[float]]] = {}
    for name, tree in trees.items():
        data = tree["constant_data"]
        stops, paths = data.stop_own.values, data.loss_path.values
        J[name] = [[paths[c, p, stops[c, p] - 1] + PRICE * stops[c, p] for p in range(NUM)] for c in range(3)]
    differences = [np.mean([J["late"][c][p] - J["early"][c][p] for c in range(3)]) for p in range(NUM)]
    assert pytest.approx(np.mean(J["early"])) == best.J
    assert other.difference == pytest.approx(np.mean(differences))
    assert other.difference_sem == pytest.approx(np.std(differences, ddof=1) / NUM**0.5)
    assert other.J_seed_sem == pytest.approx(np.std([np.mean(seed) for seed in J["late"]], ddof=1) / 3**0.5)
    assert other.wins == np.mean(np.array(differences) < 0)
    assert (other.seconds, math.isnan(best.seconds)) == (7.0, True)
    assert best.log_evidence == pytest.approx(best.elbo + best.amortisation_gap + best.horizon_gap)
    assert RunsCompared.from_json(found.to_json()).runs[1] == other


def test_a_price_of_the_users_own_decides(trees: dict[str, xr.DataTree]) -> None:
    """Where steps cost next to nothing the late stop wins."""
    assert [run.run for run in compared(trees, price=1e-6).runs] == ["late", "early"]


def test_problems_that_diverged_in_one_run_count_in_none(trees: dict[str, xr.DataTree]) -> None:
    data = trees["late"]["constant_data"].to_dataset()
    data.loss_path[1, 5, 10:] = math.inf
    trees["late"]["constant_data"] = xr.DataTree(data)
    found = compared(trees)
    assert (found.num_optimizees, found.num_diverged) == (NUM - 1, 1)
    assert all(math.isfinite(run.J) for run in found.runs)
    data.loss_path[:] = math.inf
    trees["late"]["constant_data"] = xr.DataTree(data)
    with pytest.raises(ValueError, match=f"nothing to compare: each of the {NUM} problems diverged"):
        compared(trees)


def test_weights_are_those_of_the_best_mixture() -> None:
    """max_w sum_l log(w p_1(x_l) + (1 - w) p_2(x_l)), by a search of one number."""
    random = np.random.default_rng(1)
    a = random.normal(-10, 2, 60)
    b = a + random.normal(0.1, 1, 60)

    def cost(weight: float) -> float:
        return -float(logsumexp([a + math.log(weight), b + math.log1p(-weight)], axis=0).sum())

    best = minimize_scalar(cost, bounds=(1e-6, 1 - 1e-6), method="bounded").x
    assert 0.1 < best < 0.9
    found = stacking_weights({"a": a, "b": b})
    assert found["a"] == pytest.approx(best, abs=0.02)
    assert sum(found.values()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"family": "another"}, "family 'made up' in a and 'another' in b"),
        ({"settings": json.dumps({"family_options": {"dim": 3}})}, "family options {} in a and {'dim': 3} in b"),
    ],
)
def test_runs_on_other_problems_are_refused(change: dict[str, str], said: str) -> None:
    first = on(made_up_tree(), family_options={})
    other = first.copy()
    other.attrs = {**first.attrs, **change}
    with pytest.raises(ValueError, match="expected runs on the same problems, got") as refusal:
        compared({"a": first, "b": other})
    assert said in str(refusal.value)
    with pytest.raises(ValueError, match="number of problems 40 in a and 30 in b"):
        compared({"a": first, "b": on(made_up_tree(num=30), family_options={})})


def test_the_table_says_what_can_be_told_apart(trees: dict[str, xr.DataTree]) -> None:
    text = compared_table(compared(trees))
    assert "early (3 seeds)" in text
    assert "early costs least" in text
    assert "Few seeds" not in text
    assert max(map(len, text.splitlines())) <= 100
    alone = {"one": made_up_tree(), "two": made_up_tree(), "none": made_up_tree(learned=False)}
    alone["two"].attrs["prior_nu"] = 0.5
    text = compared_table(compared({"one": made_up_tree(), "two": barely_worse(made_up_tree())}))
    assert "they cannot be told apart here" in " ".join(text.split())
    text = compared_table(compared(alone))
    for words in ("Few seeds (one, two, none)", "one and two cost the same.", "The runs' nu differ"):
        assert words in " ".join(text.split())


def test_one_problem_has_no_errors_and_no_weights() -> None:
    found = compared({"a": made_up_tree(num=1), "b": later(made_up_tree(num=1), 3)})
    assert all(math.isnan(run.weight) and math.isnan(run.difference_sem) for run in found.runs)
    assert "costs least" in compared_table(found)


def test_the_figure_has_a_line_and_a_bar_for_each_run(trees: dict[str, xr.DataTree]) -> None:
    found = compared(trees)
    with styled():
        figure: Any = losses_and_costs(trees, found)
    losses, differences = figure.axes
    lines = [line for line in losses.lines if len(line.get_xdata()) > 1]
    assert [line.get_label() for line in lines] == ["early", "late"]
    assert lines[0].get_ydata()[-1] == pytest.approx(found.runs[0].loss_at_horizon)
    dots = [line for line in losses.lines if len(line.get_xdata()) == 1]
    assert [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in dots] == [(run.steps, run.loss) for run in found.runs]
    assert [label.get_text() for label in differences.get_yticklabels()] == ["early", "late"]
    assert "early costs least" in " ".join(figure.get_suptitle().split())


def test_r_hat_of_problems_is_that_of_each() -> None:
    draws = np.random.default_rng(0).integers(1, 10, (3, 50, 4)) + np.arange(3)[:, None, None]
    r_hat, ess = convergence_of_problems(xr.DataArray(draws, dims=("chain", "draw", "optimizee")))
    for problem in range(4):
        assert (r_hat[problem], ess[problem]) == pytest.approx(convergence(draws[..., problem]))
    same, _ = convergence_of_problems(xr.DataArray(np.ones((2, 20, 1)), dims=("chain", "draw", "optimizee")))
    assert same == 1
