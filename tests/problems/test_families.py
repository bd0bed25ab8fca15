from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent

from probact.problems.base import FAMILIES, value_and_grad
from probact.problems.digits import read_digits
from probact.problems.network import NetworkFamily, minibatch_indices
from probact.runs.experiment import Experiment
from probact.support.sight import Sight
from probact.testing import check_family
from tests.helpers.checks import problems

NAMES = list(FAMILIES)


@pytest.mark.parametrize("name", NAMES)
def test_conformance(name: str) -> None:
    check_family(FAMILIES[name])


@pytest.mark.parametrize(
    "name",
    [name for name in NAMES if FAMILIES[name].shows[0] is Sight.GRADIENT and problems(name, 2).optimum() is not None],
)
def test_optimum_is_the_smallest_loss(name: str, double: None) -> None:
    """Newton or LBFGS from theta_0 ends at the stated optimum (mixed, diabetes: an independent least squares)."""
    optimizee = problems(name, 4)
    optimum = optimizee.optimum()
    assert optimum is not None
    theta = optimizee.theta0["theta"]
    if name in ("regression", "mixed", "diabetes"):
        for problem in range(4):
            W, y = optimizee.design[problem].numpy(), optimizee.target[problem].numpy()  # type: ignore[attr-defined]
            residual = y - LinearRegression(fit_intercept=False).fit(W, y).predict(W)
            smallest = 0.5 * (residual**2).sum() + 0.5 * len(y) * math.log(2 * math.pi)
            assert float(optimum[problem]) == pytest.approx(smallest, abs=1e-5)
        return
    if name == "rosenbrock":
        turn = optimizee.turn  # type: ignore[attr-defined]
        solution = torch.stack([turn, turn.square()], -1)
    else:
        solution = torch.linalg.solve(optimizee.design, optimizee.target)  # type: ignore[attr-defined]
    values, grads = value_and_grad(optimizee.nll, {"theta": solution})
    torch.testing.assert_close(values, optimum, rtol=1e-6, atol=1e-6)
    assert float(grads["theta"].abs().max()) < 1e-4
    assert bool((optimizee.nll({"theta": theta}) > optimum).all())


@pytest.mark.parametrize(
    ("name", "start", "optimum"),
    [
        ("quadratic", 3.33, 0.0),
        ("regression", 64.415, 9.1894),
        ("student-t", 35.3, 11.447),
        ("student-t-r4", 56.32, 11.447),
    ],
)
def test_losses_recorded_by_the_prior_system(name: str, start: float, optimum: float) -> None:
    optimizee = problems(name, 20_000)
    nll = optimizee.nll(optimizee.theta0)
    assert float(nll.mean()) == pytest.approx(start, abs=4 * float(nll.std()) / 20_000**0.5 + 0.15)
    best = optimizee.optimum()
    assert best is not None
    assert float(best.mean()) == pytest.approx(optimum, abs=1e-3)


def test_likelihoods_by_scipy(double: None) -> None:
    for name, density in (("regression", stats.norm), ("student-t", stats.t(df=1))):
        optimizee = problems(name, 3)
        residual = (optimizee.design @ optimizee.theta0["theta"].unsqueeze(-1)).squeeze(-1) - optimizee.target  # type: ignore[attr-defined]
        expected = -torch.as_tensor(density.logpdf(residual.numpy())).sum(-1)
        torch.testing.assert_close(optimizee.nll(optimizee.theta0), expected)


def test_mixed_has_every_rank_and_a_spread_of_scales() -> None:
    optimizee = problems("mixed", 400)
    ranks = torch.linalg.matrix_rank(optimizee.design.double(), rtol=1e-5)  # type: ignore[attr-defined]
    assert set(ranks.tolist()) == set(range(1, 11))
    largest = torch.linalg.matrix_norm(optimizee.design, 2)  # type: ignore[attr-defined]
    assert float(largest.log().std()) > 0.5


def test_diabetes_is_the_real_data() -> None:
    optimizee = problems("diabetes", 50)
    design = optimizee.design  # type: ignore[attr-defined]
    assert design.shape == (50, 64, 10)
    spread = torch.linalg.cond(design.double().transpose(1, 2) @ design.double())
    assert 100 < float(spread.median()) < 5000  # collinear: what makes it slow
    with pytest.raises(ValueError, match=r"expected rows in 1\.\.442, got 500"):
        FAMILIES["diabetes"](rows=500)


def test_breast_cancer_is_sklearns_logistic_regression(double: None) -> None:
    """Loss, gradient and test score by scikit-learn and numpy, from the raw data and the rows each problem took."""
    features, labels = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(features) * (568 / 569) ** 0.5  # which divides by n, not n - 1
    X = np.column_stack([np.ones(569), X])
    optimizee = problems("breast-cancer", 4, rows=150)
    theta = 0.3 * torch.randn(4, 31)
    values, grads = value_and_grad(optimizee.nll, {"theta": theta})
    score = optimizee.test_score({"theta": theta})
    assert score is not None
    for problem in range(4):
        signs = optimizee.signs[problem].numpy()  # type: ignore[attr-defined]
        x, told = signs != 0, np.where(signs == -1, 1 - labels, labels)
        assert x.sum() == 150
        chance = 1 / (1 + np.exp(-X @ theta[problem].numpy()))
        assert float(values[problem]) == pytest.approx(log_loss(told[x], chance[x], normalize=False), rel=1e-4)
        np.testing.assert_allclose(grads["theta"][problem], X[x].T @ (chance - told)[x], rtol=1e-4, atol=1e-4)
        assert float(score.loss[problem]) == pytest.approx(log_loss(labels[~x], chance[~x]), rel=1e-4)
        assert float(score.accuracy[problem]) == pytest.approx(accuracy_score(labels[~x], chance[~x] > 0.5))
    signs = problems("breast-cancer", 500).signs  # type: ignore[attr-defined]
    wrong = (signs == -1).sum(1) / 200
    assert (float(wrong.mean()), float(wrong.std())) == pytest.approx(
        (0.15, (0.04 / 12 + 0.15 * 0.85 / 200) ** 0.5), rel=0.1
    )
    assert int((signs != 0).sum(0).min()) > 100  # 176 are expected: all patients are taken equally often
    with pytest.raises(ValueError, match=r"expected rows in 1\.\.568, got 569"):
        FAMILIES["breast-cancer"](rows=569)


def test_digits_autoencoder_is_a_plain_module_under_a_bernoulli(double: None) -> None:
    """x and a minibatch of one network: torch's own module, distribution and gradient, from scikit-learn's pixels."""
    pixels = torch.as_tensor(load_digits().data >= 8).to(torch.float64)
    is_held_out = torch.arange(len(pixels)) % 5 == 0
    train, held_out = pixels[~is_held_out], pixels[is_held_out]
    optimizee = problems("digits-autoencoder", 3, hidden=(5, 2, 5), batch_size=7, observations=9)
    module = nn.Sequential(nn.Linear(64, 5), nn.Tanh(), nn.Linear(5, 2), nn.Tanh(), nn.Linear(2, 5), nn.Tanh())
    module.append(nn.Linear(5, 64))
    module.load_state_dict({name: tensor[1] for name, tensor in optimizee.theta0.items()})

    def log_prob(images: Tensor) -> Tensor:
        return Independent(Bernoulli(logits=module(images)), 1).log_prob(images)

    observed = held_out[optimizee.observed[1]]  # type: ignore[attr-defined]
    expected = -log_prob(observed).sum()
    values, grads = value_and_grad(optimizee.nll, optimizee.theta0)
    torch.testing.assert_close(values[1], expected)
    expected.backward()
    for name, weight in module.named_parameters():
        torch.testing.assert_close(grads[name][1], weight.grad)
    rows = minibatch_indices(optimizee.seeds, 4, 7, len(train))[1]  # type: ignore[attr-defined]
    torch.testing.assert_close(optimizee.loss(optimizee.theta0, 4)[1], -log_prob(train[rows]).mean())
    score = optimizee.test_score(optimizee.theta0)
    assert score is not None
    torch.testing.assert_close(score.loss[1], -log_prob(held_out).mean())
    assert float(score.loss.mean()) == pytest.approx(64 * math.log(2), rel=0.1)


def test_digits_split_and_initialisation() -> None:
    (images, labels), (held_out, _) = read_digits()
    assert (len(images), len(held_out)) == (1437, 360)
    assert set(labels.tolist()) == set(range(10))
    assert 0 <= float(images.min()) < float(images.max()) <= 1
    optimizee = problems("digits", 40)
    params = optimizee.theta0
    assert {name: tuple(p.shape[1:]) for name, p in params.items()} == {
        "0.weight": (20, 64),
        "0.bias": (20,),
        "2.weight": (10, 20),
        "2.bias": (10,),
    }
    for name, layer in (("0", nn.Linear(64, 20)), ("2", nn.Linear(20, 10))):
        for kind in ("weight", "bias"):
            bound = float(layer.weight.shape[1]) ** -0.5
            sampled = params[f"{name}.{kind}"]
            assert bound * 0.95 < float(sampled.abs().max()) <= bound
            assert float(sampled.mean().abs()) < 4 * bound / (3 * sampled.numel()) ** 0.5
    # a sum over 64 images of about log 10 each
    assert float(optimizee.nll(params).mean()) == pytest.approx(64 * math.log(10), rel=0.1)
    assert float(optimizee.loss(params, 0).mean()) == pytest.approx(math.log(10), rel=0.1)


def test_digits_minibatches_change_with_the_step_and_x_does_not() -> None:
    optimizee = problems("digits", 3)
    losses = torch.stack([optimizee.loss(optimizee.theta0, step) for step in range(4)])
    assert len({round(float(value), 6) for value in losses[:, 0]}) == 4
    torch.testing.assert_close(optimizee.loss(optimizee.theta0, 2), losses[2], rtol=0, atol=0)


def test_minibatch_indices_are_uniform_and_independent() -> None:
    seeds = torch.randint(-(2**62), 2**62, (200,))
    rows = torch.stack([minibatch_indices(seeds, step, 16, 37) for step in range(20)])
    assert rows.shape == (20, 200, 16)
    counts = torch.bincount(rows.flatten(), minlength=37)
    assert len(counts) == 37
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    pairs = torch.bincount((rows[:-1] * 37 + rows[1:]).flatten(), minlength=37**2)
    assert stats.chisquare(pairs.numpy()).pvalue > 1e-3
    alone = minibatch_indices(seeds[7:8], 3, 16, 37)
    assert torch.equal(alone[0], rows[3, 7])


def test_a_users_module_becomes_a_family(double: None) -> None:
    X = torch.randn(30, 3)
    y = X @ torch.tensor([1.0, -2.0, 0.5])
    family = NetworkFamily(
        make=lambda: nn.Linear(3, 1),
        per_example=lambda out, target: 0.5 * (out.squeeze(-1) - target).square(),
        train=(X[:20], y[:20]),
        held_out=(X[20:], y[20:]),
        batch_size=4,
        observations=10,
    )
    optimizee = family.sample(2, torch.Generator().manual_seed(0))
    weight, bias = optimizee.theta0["weight"][1], optimizee.theta0["bias"][1]
    by_hand = 0.5 * (X[20:] @ weight[0] + bias - y[20:]).square().sum()
    torch.testing.assert_close(optimizee.nll(optimizee.theta0)[1], by_hand)
    rows = minibatch_indices(optimizee.seeds, 5, 4, 20)[0]
    weight, bias = optimizee.theta0["weight"][0], optimizee.theta0["bias"][0]
    mean = 0.5 * (X[rows] @ weight[0] + bias - y[rows]).square().mean()
    torch.testing.assert_close(optimizee.loss(optimizee.theta0, 5)[0], mean)
    assert not torch.equal(optimizee.theta0["weight"][0], optimizee.theta0["weight"][1])
    score = optimizee.test_score(optimizee.theta0)
    torch.testing.assert_close(score.loss[1], by_hand / 10)
    assert bool(score.accuracy.isnan().all())  # no classifier


def test_network_family_refuses() -> None:
    data = (torch.zeros(5, 2), torch.zeros(5))
    options: dict[str, Any] = {"per_example": lambda out, y: out.sum(-1), "train": data, "held_out": data}
    with pytest.raises(ValueError, match="observations <= 5 held-out rows, got 64"):
        NetworkFamily(make=lambda: nn.Linear(2, 1), **options)
    with pytest.raises(ValueError, match="without buffers"):
        NetworkFamily(make=lambda: nn.BatchNorm1d(2), observations=5, **options)
    with pytest.raises(ValueError, match="unknown activation 'step': choose from sigmoid, relu, tanh"):
        FAMILIES["digits"](activation="step")


def test_family_options_by_name() -> None:
    family = Experiment.create(family="digits", family_options={"hidden": "16,8", "activation": "relu"}).build_family()
    init = family.sample(1, torch.Generator().manual_seed(0)).theta0
    assert [tuple(p.shape[1:]) for n, p in init.items() if n.endswith("weight")] == [(16, 64), (8, 16), (10, 8)]
    with pytest.raises(ValueError, match="family 'digits' has no option 'depth': choose from hidden, activation"):
        Experiment.create(family="digits", family_options={"depth": "2"}).build_family()
    with pytest.raises(ValueError, match="expected int like 64, got 'many'"):
        Experiment.create(family="diabetes", family_options={"rows": "many"}).build_family()


def test_which_families_have_a_predictive_distribution(double: None) -> None:
    """Those whose nll is a density's; of the others a posterior predictive cannot be asked for."""
    without = {name for name in NAMES if problems(name, 2).predictive(problems(name, 2).theta0) is None}
    assert without == {"assorted", "quadratic", "student-t-r4", "rosenbrock", "style"}


def test_predictive_of_chosen_problems(double: None) -> None:
    for name in ("breast-cancer", "digits-mixed", "digits-autoencoder", "logistic-mixed"):
        chosen = problems(name, 4).select(torch.tensor([2, 0]))
        predictive, x = chosen.predictive(chosen.theta0), chosen.observations()
        assert predictive is not None
        assert x is not None
        assert predictive.batch_shape == (2,)
        torch.testing.assert_close(predictive.log_prob(x), -chosen.nll(chosen.theta0))
