from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from probact.judging import comparison, tuning
from probact.judging.comparison import LIMIT, Entry, compare, references
from probact.judging.evaluation import evaluate
from probact.judging.limit import conjugate_gradient
from probact.judging.problem_sets import held_out_problems, reported_steps, retarget, tuning_problems
from probact.judging.trajectory import loss_curve, losses_at, record
from probact.judging.tuning import sweep, tuned_rates
from probact.problems import network
from probact.problems.base import FAMILIES, Optimizee
from probact.reports import text
from probact.rules.base import RULES
from probact.rules.hand_designed import HandDesigned
from probact.runs.experiment import Experiment
from probact.unrolling.rollout import unroll
from tests.helpers.checks import problems
from tests.helpers.evaluations import evaluation
from tests.helpers.properties import assert_baselines_are_tuned, assert_problem_sets_are_apart

HAND_DESIGNED = [name for name in RULES if issubclass(RULES[name], HandDesigned)]


@pytest.fixture(autouse=True)
def _nothing_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates are tuned here, on few problems."""
    monkeypatch.setattr(tuning, "_cached", dict)
    rates = dict.fromkeys(HAND_DESIGNED, (0.003, 0.01, 0.03, 0.1))
    for name, grid in rates.items():
        monkeypatch.setattr(RULES[name], "learning_rates", grid)


def small(family: str = "quadratic", **settings: Any) -> Experiment:
    sizes = {"horizon": 8, "validation_problems": 8, "test_problems": 40}
    return Experiment.create(family=family, **{**sizes, **settings})


def test_sweep_finds_the_best_rate_of_every_step() -> None:
    experiment = small()
    rates = sweep("momentum", experiment, [1, 8])
    problems = tuning_problems(experiment)
    for step, lr in rates.items():
        losses = {other: float(loss_curve(RULES["momentum"](lr=other), problems, step)[-1].mean())
                  for other in RULES["momentum"].learning_rates}  # fmt: skip
        assert losses[lr] == min(losses.values())
    assert rates[1] != rates[8]


def test_a_rate_that_diverges_loses() -> None:
    experiment = small(horizon=150)
    assert sweep("sgd", experiment, [150])[150] < 0.1
    final = loss_curve(RULES["sgd"](lr=0.4), tuning_problems(experiment), 150)[-1]
    assert not bool(final.isfinite().all())


def test_tuned_rates_are_read_where_they_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_cached", lambda: {"quadratic": {"sgd": {"8": 0.5}, "nag(momentum=0.5)": {"8": 0.25}}})
    assert tuned_rates("sgd", small(), [8]) == {8: 0.5}
    assert tuned_rates("nag", small(), [8], {"momentum": 0.5}) == {8: 0.25}
    assert tuned_rates("nag", small(), [8])[8] != 0.25
    assert tuned_rates("sgd", small(family_options={"dim": 3}), [8])[8] != 0.5
    with pytest.raises(ValueError, match="rule 'lstm' has no learning rate"):
        tuned_rates("lstm", small(), [8])


def test_the_committed_rates_cover_every_rule_of_a_family() -> None:
    """Of a family or rule that is not there, and of mixtures, rates are tuned when they are asked for."""
    rates = json.loads(tuning.TUNED_RATES.read_text())
    usual = {name for name in HAND_DESIGNED if RULES[name].usual}
    assert set(rates) <= set(FAMILIES)
    for family, by_rule in rates.items():
        assert usual <= set(by_rule) <= set(HAND_DESIGNED), family
        for name, by_step in by_rule.items():
            assert {"1", "10", "50", "100"} <= set(by_step), (family, name)


def test_rates_of_a_new_family_are_tuned_when_they_are_asked_for() -> None:
    with FAMILIES.temporarily():
        FAMILIES.register("new")(type("New", (FAMILIES["quadratic"],), {}))
        assert tuned_rates("sgd", small("new"), [8]) == sweep("sgd", small(), [8])


def test_tuning_test_and_training_problems_differ() -> None:
    assert_problem_sets_are_apart(small())


@pytest.mark.parametrize("rule", ["sgd", "lstm"])
def test_follow_is_unroll_whatever_the_chunk(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built, optimizee = RULES[rule](), problems("digits", 5)
    path = record(built, optimizee, 4, score_at=[2, 4])
    with torch.no_grad():
        expected = unroll(built, optimizee, 4)
    torch.testing.assert_close(path.nll, expected.nll.double())
    monkeypatch.setattr("probact.judging.trajectory.CHUNK", 2)
    chunked = record(built, optimizee, 4, score_at=[2, 4])
    torch.testing.assert_close(chunked.nll, path.nll, rtol=1e-5, atol=1e-5)
    for one, other in zip(chunked.known, path.known, strict=True):
        torch.testing.assert_close(one.loss, other.loss, rtol=1e-5, atol=1e-5)
        assert one.hazard is None
    assert list(path.scores) == [2, 4]
    torch.testing.assert_close(chunked.scores[4], path.scores[4], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", ["digits", "digits-mixed"])
def test_test_score_by_hand(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    optimizee: Any = problems(family, 3)
    monkeypatch.setattr(network, "NETWORKS", 2)
    monkeypatch.setattr(network, "ROWS", 100)
    score = optimizee.test_score(optimizee.theta0)
    _, _, images, labels = optimizee.data.tensors
    for problem in range(3):
        weights = {name: tensor[problem] for name, tensor in optimizee.theta0.items()}
        hidden = torch.sigmoid(images @ weights["0.weight"].T + weights["0.bias"])
        if family == "digits-mixed":
            hidden = hidden * optimizee.kept["0.bias"][problem]
        logits = hidden @ weights["2.weight"].T + weights["2.bias"]
        loss = torch.nn.functional.cross_entropy(logits, labels)
        assert float(score.accuracy[problem]) == pytest.approx(float((logits.argmax(-1) == labels).double().mean()))
        assert float(score.loss[problem]) == pytest.approx(float(loss), rel=1e-5)


def test_the_test_set_is_scored_only_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = []
    score = network.Network.test_score
    monkeypatch.setattr(network.Network, "test_score", lambda self, params: scored.append(1) or score(self, params))
    experiment = small("digits", test_problems=4)
    optimizee = held_out_problems(experiment)
    tuned_rates("sgd", experiment, [2])
    assert not record(RULES["sgd"](), optimizee, 3).scores
    assert not scored
    data = compare(experiment, [Entry("mine", "trained", 0, RULES["sgd"](lr=0.1))], [1, 3], optimizee)
    assert len(scored) == 2
    assert data.test_loss.shape == data.accuracy.shape == (1, 2, 4)
    (row,) = comparison.loss_rows(data)
    assert row.test_loss["3"] == pytest.approx(float(data.test_loss[0, 1].mean()))
    assert row.accuracy["3"] == pytest.approx(float(data.accuracy[0, 1].mean()))
    (line,) = [line for line in text.evaluation_table(evaluation(losses=(row,))).splitlines() if "%" in line]
    assert line.split() == [
        "mine",
        *(text for step in "13" for text in (f"{row.test_loss[step]:.4f}", f"{row.accuracy[step]:.1%}")),
    ]


def test_conjugate_gradient_is_the_best_in_the_krylov_space(double: None) -> None:
    """After k steps: the least squares over theta_0 + span(g, Hg, ..., H^(k-1) g), by lstsq."""
    optimizee: Any = problems("regression", 3)
    nll = conjugate_gradient(optimizee, 12)
    for problem in range(3):
        W, y = optimizee.design[problem], optimizee.target[problem]
        start = optimizee.theta0["theta"][problem]
        for steps in (1, 2, 4):
            vectors = [W.T @ (W @ start - y)]
            for _ in range(steps - 1):
                vectors.append(W.T @ (W @ vectors[-1]))
            basis, _ = torch.linalg.qr(torch.stack(vectors, 1))
            weight = torch.linalg.lstsq(W @ basis, y - W @ start).solution
            alone = optimizee.select(torch.tensor([problem]))
            best = alone.nll({"theta": (start + basis @ weight).unsqueeze(0)})
            torch.testing.assert_close(nll[steps, problem], best[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(nll[-1], optimizee.optimum(), rtol=1e-6, atol=1e-4)
    assert bool((nll.diff(dim=0) <= 1e-9).all())


def test_no_rule_is_below_the_limit() -> None:
    optimizee = problems("quadratic", 200)
    limit = conjugate_gradient(optimizee, 8).mean(1)
    for name in HAND_DESIGNED:
        assert float(loss_curve(RULES[name](), optimizee, 8)[8].nan_to_num(1e9, 1e9).mean()) > float(limit[8])


def test_the_limit_is_of_quadratics_alone() -> None:
    with pytest.raises(ValueError, match="expected a family whose loss is quadratic"):
        conjugate_gradient(problems("student-t"), 3)
    assert references(FAMILIES["mixed"])["cg"] is LIMIT
    assert "cg" not in references(FAMILIES["digits"])


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "_cached", dict)
        for name in ("adam", "sgd"):
            patch.setattr(RULES[name], "learning_rates", (0.003, 0.01, 0.03, 0.1))
        experiment = small()
        optimizee = held_out_problems(experiment)
        trained = [Entry("mine", "trained", seed, RULES["adam"](lr=0.05 + 0.05 * seed)) for seed in (0, 1)]
        known = references(FAMILIES[experiment.family])
        return compare(experiment, [*trained, *(known[name] for name in ("adam", "sgd", "cg"))], [8, 1], optimizee)


def test_compare(data: xr.Dataset) -> None:
    assert data.optimizer.values.tolist() == ["mine", "mine", "adam", "sgd", LIMIT.label]
    assert data.kind.values.tolist() == ["trained", "trained", "baseline", "baseline", "limit"]
    assert data.seed.values.tolist() == [0, 1, -1, -1, -1]
    assert data["at"].values.tolist() == [1, 8]
    assert data.loss.shape == (5, 2, 40)
    assert "accuracy" not in data
    assert "test_loss" not in data
    optimizee = held_out_problems(small())
    expected = loss_curve(RULES["adam"](lr=0.1), optimizee, 8).double().numpy()
    np.testing.assert_allclose(data.loss[1], expected[[1, 8]], rtol=1e-6)
    np.testing.assert_allclose(data.curve_mean[1], expected.mean(1), rtol=1e-6)
    np.testing.assert_allclose(data.curve_sem[1], expected.std(1, ddof=1) / 40**0.5, rtol=1e-5)
    assert_baselines_are_tuned(small(), data)


def test_a_baseline_that_plans_is_told_each_step_and_has_no_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stop would have to be known beforehand."""
    monkeypatch.setattr(RULES["momentum-cosine"], "learning_rates", (0.01, 0.03))
    experiment, known = small(), references(FAMILIES["quadratic"])
    given = [known["momentum-cosine"], known["sgd"]]
    result, data = evaluate(experiment, [], given, [3, 8], num=12)
    optimizee = held_out_problems(experiment, 12)
    for place, step in enumerate((3, 8)):
        rule = RULES["momentum-cosine"](lr=float(data.learning_rate[0, place]))
        told = record(rule, optimizee, step, told=True).nll[step]
        np.testing.assert_allclose(data.loss[0, place], told)
        assert not np.allclose(told, record(rule, optimizee, step).nll[step])
    assert {row.optimizer for row in result.stopping} == {"sgd"}


def test_tables_of_losses(data: xr.Dataset) -> None:
    rows = {row.optimizer: row for row in comparison.loss_rows(data)}
    mine = data.loss.values[:2, 1]
    assert rows["mine"].loss["8"] == pytest.approx(mine.mean())
    assert rows["mine"].sem["8"] == pytest.approx(mine.mean(0).std(ddof=1) / 40**0.5)
    assert rows["mine"].seed_sem["8"] == pytest.approx(abs(mine[0].mean() - mine[1].mean()) / 2)
    assert math.isnan(rows["adam"].seed_sem["8"])
    assert [(row.kind, row.seeds) for row in rows.values()] == [
        ("trained", (0, 1)), ("baseline", ()), ("baseline", ()), ("limit", ())
    ]  # fmt: skip
    (row,) = comparison.against_baselines(data)
    adam, sgd = data.loss.values[2, 1], data.loss.values[3, 1]
    best = adam if adam.mean() < sgd.mean() else sgd
    assert row.baseline["8"] == ("adam" if adam.mean() < sgd.mean() else "sgd")
    assert row.difference["8"] == pytest.approx((mine - best).mean())
    assert row.wins["8"] == pytest.approx((mine < best).mean())


def test_a_limit_is_a_kind_and_not_a_word_in_a_label(data: xr.Dataset) -> None:
    """The best baseline may have any name; the limit is none, whatever it is called."""
    renamed = data.assign_coords(optimizer=("entry", ["mine", "mine", "limited", "limiting", "best of all"]))
    (row,) = comparison.against_baselines(renamed)
    assert set(row.baseline.values()) <= {"limited", "limiting"}
    assert row.difference == comparison.against_baselines(data)[0].difference


def test_diverged_problems_are_counted_and_left_out(data: xr.Dataset) -> None:
    broken = data.copy(deep=True)
    broken.loss.values[0, 1, 3] = np.inf
    rows = {row.optimizer: row for row in comparison.loss_rows(broken)}
    assert rows["mine"].diverged == {"1": 0, "8": 1}
    kept = np.delete(data.loss.values[:2, 1], 3, axis=1)
    assert rows["mine"].loss["8"] == pytest.approx(kept.mean())


def test_retarget_takes_the_family_and_its_sizes_along() -> None:
    run = Experiment.create(family="quadratic", horizon=7)
    assert retarget(run, "quadratic", {}) is run
    other = retarget(run, "digits", {"hidden": "40"})
    assert (other.family, other.horizon, other.test_problems) == ("digits", 7, 64)
    assert dict(other.family_options) == {"hidden": "40"}


def test_reported_steps_reach_the_horizon() -> None:
    assert reported_steps(100) == [1, 5, 10, 20, 50, 100]
    assert reported_steps(20) == [1, 5, 10, 20]
    assert reported_steps(1) == [1]
    nll = loss_curve(RULES["sgd"](), held_out_problems(Experiment.create(), 3), 4)
    assert list(losses_at(nll, [1, 4, 9])) == ["1", "4"]
    assert losses_at(nll, [4])["4"] == pytest.approx(float(nll[4].mean()))


def test_mixed_digits_have_the_widths_they_say() -> None:
    optimizee: Any = problems("digits-mixed", 300)
    width = optimizee.kept["0.bias"].sum(-1)
    assert int(width.min()) == 2
    assert int(width.max()) >= 30
    grads = torch.autograd.functional.jacobian(
        lambda w: optimizee.loss({**optimizee.theta0, "2.weight": w}, 0).sum(), optimizee.theta0["2.weight"]
    )
    assert float((grads * (1 - optimizee.kept["2.weight"])).abs().max()) == 0
    # a pruned network is the small network
    problem = int(width.argmin())
    small_net: Optimizee = optimizee.select(torch.tensor([problem]))
    _, _, images, labels = optimizee.data.tensors
    rows = optimizee.observed[problem]
    weights = {name: tensor[problem] for name, tensor in optimizee.theta0.items()}
    hidden = torch.sigmoid(images[rows] @ weights["0.weight"][:2].T + weights["0.bias"][:2])
    logits = hidden @ weights["2.weight"][:, :2].T + weights["2.bias"]
    expected = torch.nn.functional.cross_entropy(logits, labels[rows], reduction="sum")
    torch.testing.assert_close(small_net.nll(small_net.theta0)[0], expected)
