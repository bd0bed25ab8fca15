from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import spearmanr

import probact
from probact.inference import exact
from probact.inference.posteriors.base import POSTERIORS
from probact.judging.problem_sets import held_out_problems
from probact.problems import linear
from probact.reports import halting_statistics, posterior_file, text
from probact.reports.posterior_tree import add_predictions, to_datatree
from probact.runs.assembly import build_objective
from probact.runs.experiment import Experiment

HORIZON, NUM = 12, 40


def tree_of(**settings: Any) -> xr.DataTree:
    experiment = Experiment.create(**{"family": "regression", "horizon": HORIZON, **settings})
    built = build_objective(experiment)
    if built.posterior is not None:
        with torch.no_grad():
            built.posterior.output.weight.mul_(150.0)  # problems halt at different steps
    return to_datatree(experiment, [built], held_out_problems(experiment, NUM), num_draws=400)


@pytest.fixture(scope="module")
def tree() -> xr.DataTree:
    return tree_of(halting="truncated")


def test_layout(tree: xr.DataTree) -> None:
    for group in ("posterior", "prior"):
        for name in ("T", "t"):
            variable = tree[group][name]
            assert variable.dims == ("chain", "draw", "optimizee")
            assert variable.dtype == np.int64
            assert 1 <= int(variable.min()) <= int(variable.max()) <= HORIZON
        assert bool((tree[group].t <= tree[group]["T"]).all())
    data = tree["constant_data"]
    for name in ("halt_pmf", "exact_pmf", "loss_path"):
        assert data[name].dims == ("chain", "optimizee", "step")
    for name in ("elbo", "log_evidence", "amortisation_gap", "horizon_gap", "tempered_gap", "stop_own", "initial_loss"):
        assert data[name].dims == ("chain", "optimizee")
    assert data.optimum.dims == ("optimizee",)
    assert data.prior_pmf.dims == ("step",)
    assert data.horizon_prior.dims == ("horizon",)
    assert data.step.values.tolist() == list(range(1, HORIZON + 1))
    assert all(isinstance(value, str | int | float) for value in tree.attrs.values())


def test_one_chain_has_the_layout_of_many() -> None:
    experiment = Experiment.create(family="regression", horizon=3)
    problems = held_out_problems(experiment, 4)
    one, two = (to_datatree(experiment, [build_objective(experiment)] * num, problems, num_draws=5) for num in (1, 2))
    for group in two.children:
        assert {name: variable.dims for name, variable in one[group].variables.items()} == {
            name: variable.dims for name, variable in two[group].variables.items()
        }


def test_likelihood_observations_and_difficulty(tree: xr.DataTree) -> None:
    data, likelihood = tree["constant_data"], tree["log_likelihood"]
    np.testing.assert_array_equal(likelihood.x_by_step, -data.loss_path)
    assert likelihood.x.dims == ("chain", "draw", "optimizee")
    for draw, problem in ((0, 0), (7, 3), (399, NUM - 1)):
        t = int(tree["posterior"].t[0, draw, problem])
        assert float(likelihood.x[0, draw, problem]) == -float(data.loss_path[0, problem, t - 1])
    problems = held_out_problems(Experiment.create(family="regression", horizon=HORIZON), NUM)
    np.testing.assert_array_equal(tree["observed_data"].x, problems.observations())
    cost = data.loss_path - data.step * math.log(tree.attrs["prior_nu"])
    best = 1 + cost.values.argmin(-1)
    for group in tree.children.values():
        np.testing.assert_array_equal(group.difficulty, best.mean(0))


class Mean(torch.distributions.Normal):
    """Draws of a normal distribution that are its mean."""

    def sample(self, sample_shape: Any = ()) -> torch.Tensor:
        return self.mean.expand(*sample_shape, *self.mean.shape)


def test_predictions_are_drawn_at_the_steps_of_the_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = Experiment.create(family="regression", horizon=HORIZON, rule="lstm")
    built, problems = build_objective(experiment), held_out_problems(experiment, NUM)
    tree = to_datatree(experiment, [built], problems, num_draws=30)
    add_predictions(tree, [built], problems)
    predicted = tree["posterior_predictive"].x
    assert predicted.dims == ("chain", "draw", "optimizee", "observation")
    assert predicted.shape == (1, 30, NUM, 10)
    monkeypatch.setitem(linear.NOISE, linear.gaussian_nll, Mean)
    add_predictions(tree, [built], problems)
    means = tree["posterior_predictive"].x
    assert abs(float((predicted - means).std()) - 1) < 0.05
    residual = means - tree["observed_data"].x
    nll = 0.5 * (residual**2).sum("observation") + 5 * math.log(2 * math.pi)
    np.testing.assert_allclose(nll, -tree["log_likelihood"].x, rtol=1e-3)


def test_what_diverged_or_is_no_density_is_not_predicted() -> None:
    experiment = Experiment.create(family="regression", horizon=3)
    built, problems = build_objective(experiment), held_out_problems(experiment, 4)
    tree = to_datatree(experiment, [built], problems, num_draws=5)
    tree["constant_data"].loss_path.values[0, 2, 1:] = np.inf
    add_predictions(tree, [built], problems)
    known = np.isfinite(tree["posterior_predictive"].x).all(("chain", "draw", "observation"))
    assert known.values.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(tree["posterior_predictive"].difficulty, tree["posterior"].difficulty)
    other = Experiment.create(family="rosenbrock", horizon=3)
    tree = to_datatree(other, [build_objective(other)], held_out_problems(other, 4), num_draws=5)
    add_predictions(tree, [build_objective(other)], held_out_problems(other, 4))
    assert "posterior_predictive" not in tree.children


def test_attributes_tell_version_and_settings(tree: xr.DataTree) -> None:
    assert tree.attrs["inference_library_version"] == probact.__version__
    assert tree.attrs["objective"] == "elbo"
    again = Experiment.from_json(tree.attrs["settings"])
    assert again == Experiment.create(family="regression", horizon=HORIZON, halting="truncated")
    for group in tree.children.values():
        for name, variable in group.variables.items():
            assert {"long_name", "units"} <= set(variable.attrs) or name in ("chain", "draw", "optimizee"), name


@pytest.mark.parametrize(
    "settings", [{}, {"halting": "graves"}, {"infer_horizon": True}, {"halting_first": True}, {"halting": "none"}]
)
def test_tables_are_consistent(settings: dict[str, Any]) -> None:
    tree = tree_of(**settings)
    data = posterior_file.tables(tree).isel(chain=0)
    for name, dim in (
        ("halt_pmf", "step"),
        ("exact_pmf", "step"),
        ("horizon_pmf", "horizon"),
        ("exact_horizon_pmf", "horizon"),
        ("prior_pmf", "step"),
        ("horizon_prior", "horizon"),
    ):
        np.testing.assert_allclose(data[name].sum(dim), 1, atol=1e-6)
    if settings.get("halting") == "none":
        assert bool(np.isnan(data.elbo).all())
        np.testing.assert_array_equal(data.halt_pmf, data.exact_pmf)
    else:
        np.testing.assert_allclose(data.log_evidence - data.elbo, data.amortisation_gap + data.horizon_gap, atol=1e-9)
        assert float(data.amortisation_gap.min()) >= -1e-9
        assert float(data.horizon_gap.min()) >= -1e-9
        if settings.get("halting_first"):
            divergence = (data.halt_pmf * (np.log(data.halt_pmf) - np.log(data.exact_pmf))).sum("step")
            np.testing.assert_allclose(data.amortisation_gap, divergence, atol=1e-6)
            assert not data.horizon_gap.any()
    # evidence from the file's own tables
    again = np.log((data.prior_pmf * np.exp(-data.loss_path)).sum("step"))
    np.testing.assert_allclose(data.log_evidence, again, rtol=1e-6)


@pytest.mark.parametrize("halting", [*POSTERIORS, "none"])
@pytest.mark.parametrize("entries", [2**24, 3 * HORIZON**2])
def test_draws_follow_the_tables(halting: str, entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probact.inference.belief.TABLE_ENTRIES", entries)  # the problems at once, or three at a time
    tree = tree_of(halting=halting)
    data = posterior_file.tables(tree).isel(chain=0)
    pmf = data.halt_pmf.mean("optimizee").values
    for values, expected in (
        (tree["posterior"].t, pmf),
        (tree["prior"].t, data.prior_pmf.values),
        (tree["posterior"]["T"], data.horizon_pmf.mean("optimizee").values),
        (tree["prior"]["T"], data.horizon_prior.values),
    ):
        observed = np.bincount(values.values.ravel(), minlength=HORIZON + 1)[1:] / values.size
        assert np.abs(observed - expected).max() < 5 * (0.25 / values.size) ** 0.5


def test_statistics_by_hand(tree: xr.DataTree) -> None:
    data = posterior_file.tables(tree).isel(chain=0)
    statistics = halting_statistics.halting_statistics(tree)
    halting, mode, exact_map, at_halting = [], [], [], []
    for problem in range(NUM):
        halting.append(t := int(data.stop_own[problem]))
        mode.append(1 + int(np.argmax(data.halt_pmf[problem].values)))
        exact_map.append(1 + int(np.argmax(data.exact_pmf[problem].values)))
        at_halting.append(float(data.loss_path[problem, t - 1]))
    assert vars(statistics.halting) == {
        "min": min(halting),
        "max": max(halting),
        "mean": pytest.approx(np.mean(halting)),
        "sd": pytest.approx(np.std(halting, ddof=1)),
        "median": np.median(halting),
    }
    assert statistics.rank_correlation == pytest.approx(spearmanr(mode, exact_map).statistic)
    found, path = statistics.stopping, data.loss_path.values
    price = -math.log(0.95)
    assert found.price == pytest.approx(price)
    assert found.loss == statistics.loss_at_halting == pytest.approx(np.mean(at_halting))
    assert statistics.loss_at_horizon == pytest.approx(float(path[:, -1].mean()))
    assert statistics.steps_saved == pytest.approx(HORIZON - np.mean(halting))
    assert pytest.approx(np.mean(at_halting) + price * np.mean(halting)) == found.J
    assert found.loss_horizon == pytest.approx(float(path[:, -1].mean()))
    assert found.J_oracle == pytest.approx(np.mean(np.min(path + price * np.arange(1, HORIZON + 1), 1)))
    budget = int(data.stop_budget[0])
    assert found.J_budget == pytest.approx(np.mean(path[:, budget - 1]) + price * budget)
    differences = [
        at + price * t - path[i, budget - 1] - price * budget
        for i, (at, t) in enumerate(zip(at_halting, halting, strict=True))
    ]
    assert found.J_error == pytest.approx(np.std(differences, ddof=1) / NUM**0.5)
    steps = np.arange(1, HORIZON + 1)
    assert statistics.prior.mean == pytest.approx(float((steps * data.prior_pmf).sum()))
    mixture = data.halt_pmf.mean("optimizee").values
    assert statistics.posterior.mean == pytest.approx(float(mixture @ steps))
    assert statistics.posterior.quantiles["0.5"] == 1 + int(np.argmax(np.cumsum(mixture) >= 0.5))


def test_diverged_problems_are_counted_and_left_out(tree: xr.DataTree) -> None:
    broken = tree.copy(deep=True)
    path = broken["constant_data"].loss_path.values
    path[0, 3, 5:] = np.inf
    statistics = halting_statistics.halting_statistics(broken)
    assert (statistics.num_optimizees, statistics.num_diverged) == (NUM - 1, 1)
    assert np.isfinite(statistics.stopping.loss_horizon)
    path[:] = np.inf
    lost = halting_statistics.halting_statistics(broken)
    assert (lost.num_optimizees, lost.num_diverged) == (0, NUM)
    assert math.isnan(lost.loss_at_horizon)


def test_file_is_read_by_xarray_and_arviz(tree: xr.DataTree, tmp_path: Path) -> None:
    path = tmp_path / "posterior.nc"
    experiment = Experiment.create(family="regression", horizon=HORIZON, halting="truncated")
    add_predictions(tree, [build_objective(experiment)], held_out_problems(experiment, NUM))
    posterior_file.save(tree, path)
    again = posterior_file.load(path)
    xr.testing.assert_identical(again["posterior"].to_dataset(), tree["posterior"].to_dataset())
    assert again.attrs == tree.attrs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz as az

        data = az.from_netcdf(str(path))
    assert int(data.posterior.t.max()) <= HORIZON
    assert data.constant_data.halt_pmf.shape == (1, NUM, HORIZON)
    assert data.posterior["T"].dtype == np.int64
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 0.23 uses what Matplotlib will drop
        az.plot_ppc(data, num_pp_samples=5) if az.__version__ < "1" else az.plot_ppc_dist(data)
    assert plt.get_fignums()
    plt.close("all")
    data.close() if hasattr(data, "close") else None
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="not a posterior file, or a damaged one"):
        posterior_file.load(path)
    with pytest.raises(ValueError, match="no such file"):
        posterior_file.load(tmp_path / "none.nc")


@pytest.mark.parametrize("settings", [{}, {"infer_horizon": True}, {"halting_first": True}])
@pytest.mark.parametrize("kappa", [0.5, 8.0])
def test_the_exact_posterior_stands_beside_q_at_the_scale_of_its_kl(settings: dict[str, Any], kappa: float) -> None:
    """What q is trained towards is ~ p(t) e^(-nll_t / kappa); bound and evidence stay those of scale 1."""
    tree = tree_of(kl_scale=kappa, **settings)
    data = posterior_file.tables(tree).isel(chain=0)
    assert posterior_file.kl_scale(tree) == kappa
    for name, scale in (("tempered_pmf", kappa), ("exact_pmf", 1.0)):
        joint = data.prior_pmf * np.exp((data.loss_path.min("step") - data.loss_path) / scale)
        np.testing.assert_allclose(data[name], (joint / joint.sum("step")).transpose("optimizee", "step"), rtol=1e-5)
    modes = 1 + data.tempered_pmf.argmax("step")
    np.testing.assert_array_equal(halting_statistics.map_step(tree)[0], modes)
    statistics = halting_statistics.halting_statistics(tree)
    assert statistics.map.mean == pytest.approx(float(modes.mean()))
    assert statistics.tempered_gap == pytest.approx(float(data.tempered_gap.mean()))
    assert 0 <= statistics.tempered_gap != pytest.approx(statistics.amortisation_gap)
    table = text.halting_table(statistics, 0.95, "stick-breaking", HORIZON)
    for label in ("mode of exact p(t|x)", "exact p(T|x)", "amortisation gap"):
        assert f"{label}, at KL scale {kappa:g}" in table
    assert "evidence at KL scale 1 " in table


def test_the_gap_at_the_scale_of_training_is_that_of_its_bound() -> None:
    """E_p(T) of kappa log sum_t p(t|T) e^(-nll_t / kappa), less the bound that training raised."""
    kappa = 8.0
    experiment = Experiment.create(family="regression", horizon=HORIZON, kl_scale=kappa)
    built, problems = build_objective(experiment), held_out_problems(experiment, NUM)
    data = posterior_file.tables(to_datatree(experiment, [built], problems, num_draws=1)).isel(chain=0)
    with torch.no_grad():
        rollout = built.eval().unroll(problems)
        given_T = exact.log_evidence_given_horizon(built.prior, rollout.log_likelihood / kappa)
        evidence = kappa * (built.prior.log_horizon().exp() @ given_T)
        gap = evidence + built.losses(rollout)
    np.testing.assert_allclose(data.tempered_gap, gap, rtol=1e-3)


def test_at_scale_1_nothing_is_said_of_it(tree: xr.DataTree) -> None:
    data = posterior_file.tables(tree).isel(chain=0)
    for name, plain in (("tempered_pmf", "exact_pmf"), ("tempered_horizon_pmf", "exact_horizon_pmf")):
        np.testing.assert_array_equal(data[name], data[plain])
    np.testing.assert_array_equal(data.tempered_gap, data.amortisation_gap)
    statistics = halting_statistics.halting_statistics(tree)
    assert "KL scale" not in text.halting_table(statistics, 0.95, "truncated", HORIZON)
    assert "E[t] = 1/(1 - nu) = 20" in text.halting_table(statistics, 0.95, "truncated", HORIZON)
    assert "E[t]" not in text.halting_table(statistics, 0.95, "truncated", HORIZON, geometric=False)
    older = tree.copy(deep=True)  # as it was written before there were tempered tables
    older["constant_data"] = (
        older["constant_data"].to_dataset().drop_vars(["tempered_pmf", "tempered_horizon_pmf", "tempered_gap"])
    )
    del older.attrs["tempered_at"]
    assert halting_statistics.halting_statistics(older).to_json() == statistics.to_json()
