from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from probact import LearnedOptimizer
from probact.drop_in.stop import NO_NEWS
from probact.inference.objectives.base import Objective
from probact.runs.trained import TrainedOptimizer
from probact.stopping.base import STOP_RULES, StopRule
from probact.stopping.online import run_until_stopped
from probact.stopping.rules import Budget, Hazard
from tests.helpers.checks import objective, problems
from tests.helpers.loops import Loop, assert_stops_for_good, assert_walks_as_an_unroll
from tests.helpers.preloaded import python

RULES_TRIED = ["lstm", "adam", "lbfgs", "subspace", "dropsign"]


def built(rule: str, halting: str = "stick-breaking", **settings: Any) -> Objective:
    return objective(rule=rule, halting=halting, **settings)


@pytest.mark.parametrize("safeguard", [False, True])
@pytest.mark.parametrize("family", ["regression", "quadratic"])
@pytest.mark.parametrize("rule", RULES_TRIED)
def test_the_path_of_an_unroll(rule: str, family: str, safeguard: bool, double: None) -> None:
    assert_walks_as_an_unroll(built(rule), problems(family, 1), safeguard)


@pytest.mark.parametrize("stop", [Hazard(0.13), Budget(4.0), STOP_RULES["patience"](2.0), STOP_RULES["stochastic"]()])
def test_it_stops_where_a_batch_would(stop: StopRule) -> None:
    """At the parameters and the loss of ``run_until_stopped``, and stays there."""
    trained = built("adam")
    for problem in range(3):
        alone = problems("regression", 3).select(torch.tensor([problem]))
        expected = run_until_stopped(trained.rule, alone, 200, stop, trained.posterior)
        # in the safeguard it would go back to the lowest loss
        posterior, asked = trained.posterior, {"safeguard": False, "freeze_when_stopped": True}
        loop = Loop(alone, rule=trained.rule, posterior=posterior, stop=stop, **asked)
        loss = assert_stops_for_good(loop)
        assert loop.optimizer.num_steps == int(expected.step)
        assert loss == pytest.approx(float(expected.nll), rel=1e-5)
        torch.testing.assert_close(loop.params[0].detach(), expected.params["theta"][0], rtol=1e-5, atol=1e-5)


def test_the_default_stop_is_a_share_of_the_priors_hazard() -> None:
    trained = built("adam", prior_nu=0.9)
    optimizer = LearnedOptimizer([nn.Parameter(torch.ones(2))], trained.rule, trained.posterior)
    assert isinstance(optimizer.stop, Hazard)
    assert optimizer.stop.threshold == pytest.approx(0.05)
    assert LearnedOptimizer([nn.Parameter(torch.ones(2))], trained.rule).stop is None


@pytest.mark.parametrize("saved_after", [0, 1, 7])
@pytest.mark.parametrize("rule", RULES_TRIED)
def test_resumed_bit_for_bit(rule: str, saved_after: int) -> None:
    trained, alone = built(rule), problems("regression", 1)
    stop = STOP_RULES["patience"](1e9)
    settings = {"rule": trained.rule, "posterior": trained.posterior, "stop": stop}
    whole = Loop(alone, **settings)
    whole.run(saved_after)
    file = io.BytesIO()
    torch.save({"params": whole.params, "optimizer": whole.optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed = Loop(alone, **settings)
    for param, value in zip(resumed.params, saved["params"], strict=True):
        param.data.copy_(value)
    resumed.optimizer.load_state_dict(saved["optimizer"])
    assert resumed.optimizer.halting_probability == whole.optimizer.halting_probability
    assert resumed.run(8) == whole.run(8)
    assert torch.equal(resumed.params[0], whole.params[0])
    another = Loop(alone, rule=built("sgd" if rule != "sgd" else "adam").rule)
    if saved_after:
        with pytest.raises(ValueError, match="not the state of a LearnedOptimizer like this one"):
            another.optimizer.load_state_dict(saved["optimizer"])
        assert another.optimizer.num_steps == 0


def test_a_loss_in_place_of_a_closure(double: None) -> None:
    trained, alone = built("lstm"), problems("regression", 1)
    with_closure, without = (Loop(alone, rule=trained.rule) for _ in range(2))
    with_closure.run(5)
    for _ in range(5):
        assert without.optimizer.step(loss=without.closure()) is not None
    assert torch.equal(with_closure.params[0], without.params[0])


def test_a_module_of_several_tensors_and_minibatches() -> None:
    """Frozen layers stay as they are; the others are trained; a float and a tensor of any shape will do as loss."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
    model[0].weight.requires_grad_(False)
    frozen = model[0].weight.clone()
    inputs = torch.randn(64, 5)
    optimizer = LearnedOptimizer(model.parameters(), built("adam").rule)
    losses = []
    for step in range(60):
        rows = torch.randint(64, (32,), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss = (model(inputs[rows]) - inputs[rows].sum(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step(loss=loss.item() if step % 2 else loss.reshape(1, 1))
        losses.append(loss.item())
    assert torch.equal(model[0].weight, frozen)
    assert losses[-1] < 0.1 * losses[0]


def test_the_safeguard_is_worn_unless_declined() -> None:
    alone = problems("regression", 1)
    rule = built("sgd").rule
    rule.lr = 10.0
    safe, plain = Loop(alone, rule=rule), Loop(alone, rule=rule, safeguard=False, patience_for_nan=None)
    safe_path, plain_path = safe.run(200), plain.run(200)
    assert not plain_path[-1][0] < 1e6
    assert safe_path[-1][0] < 0.5 * safe_path[0][0]


def test_refusals() -> None:
    trained, weight = built("adam"), nn.Parameter(torch.ones(2))
    optimizer = LearnedOptimizer([weight, nn.Parameter(torch.ones(2))], trained.rule)
    with pytest.raises(
        ValueError, match=r"step: expected the loss, .* got none: step\(closure\), .* or add_loss\(loss\) before"
    ):
        optimizer.step()
    with pytest.raises(ValueError, match="expected a gradient, got none"):
        optimizer.step(loss=1.0)
    with pytest.raises(ValueError, match=r"expected a loss of one number, got shape \(2,\)"):
        optimizer.step(loss=torch.ones(2))
    with pytest.raises(ValueError, match="stop rule 'hazard': expected a halting posterior to follow, got none"):
        LearnedOptimizer([weight], trained.rule, stop=Hazard())
    truncated = built("adam", "truncated")
    with pytest.raises(ValueError, match="'truncated' needs the whole unroll"):
        LearnedOptimizer([weight], truncated.rule, truncated.posterior)


def test_from_pretrained(tmp_path: Path) -> None:
    """Weights, options, posterior and nu come back, for parameters of another type too."""
    trained = objective(rule="lstm", rule_options={"hidden_size": 5})
    path = tmp_path / "lstm.pt"
    TrainedOptimizer(trained.rule, {"hidden_size": 5}, trained.posterior, 0.8, 7).save(path)
    loop, alone = Loop(problems("regression", 1), rule=trained.rule), problems("regression", 1).to(torch.float64)
    loaded = LearnedOptimizer.from_pretrained(loop.params, path)
    assert loaded.stop is NO_NEWS
    given = Loop(problems("regression", 1), rule=trained.rule, posterior=trained.posterior, stop=None)
    loop.optimizer = LearnedOptimizer.from_pretrained(loop.params, path, stop=None)
    path_of_given = given.run(6)
    assert loop.run(6) == path_of_given
    loop = Loop(alone, rule=trained.rule)
    loop.optimizer = LearnedOptimizer.from_pretrained(loop.params, str(path), stop=None)
    assert loop.run(6)[-1][2] == pytest.approx(path_of_given[-1][2], rel=1e-3)


def test_files_that_are_no_optimizer(tmp_path: Path) -> None:
    params, path = [nn.Parameter(torch.ones(2))], tmp_path / "x.pt"
    with pytest.raises(ValueError, match="expected a file, got a folder"):
        LearnedOptimizer.from_pretrained(params, tmp_path)
    path.write_text("no")
    with pytest.raises(ValueError, match=r"x.pt: not a probact optimizer, or a damaged one"):
        LearnedOptimizer.from_pretrained(params, path)
    torch.save({"format": "probact checkpoint 1"}, path)
    with pytest.raises(ValueError, match="of format 'probact optimizer 1', got 'probact checkpoint 1'"):
        LearnedOptimizer.from_pretrained(params, path)
    trained = built("adam")
    TrainedOptimizer(trained.rule, {"speed": 3}, None, 0.9, 7).save(path)
    with pytest.raises(ValueError, match=r"this version can read \(rule 'adam' has no option 'speed'"):
        LearnedOptimizer.from_pretrained(params, path)


def test_it_loads_neither_pyro_nor_arviz(tmp_path: Path) -> None:
    code = "import sys, probact; probact.LearnedOptimizer; print({'pyro', 'arviz', 'xarray'} & set(sys.modules))"
    assert python(tmp_path, code, forget=("pyro", "arviz", "xarray")).output().strip() == "set()"
