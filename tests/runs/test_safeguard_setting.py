from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from probact import LearnedOptimizer
from probact.cli.fit import asked_for
from probact.judging.problem_sets import held_out_problems
from probact.judging.trajectory import loss_curve
from probact.rules.base import RULES
from probact.rules.safeguarded import Safeguarded
from probact.runs.experiment import Experiment
from probact.runs.run import Run
from probact.runs.trained import TrainedOptimizer
from probact.training.loop import train
from probact.training.meta_training import MetaTraining
from probact.unrolling.rollout import unroll
from probact.unrolling.walk import Unrolling
from tests.helpers.checks import plain_unroll, problems
from tests.helpers.commands import assert_reproduced
from tests.helpers.trainings import same, tiny

pytestmark = pytest.mark.usefixtures("undrawn")

LOST = {"hidden_size": "4", "scale": "30.0"}
"""Options of an untrained LSTM that gets lost."""


def trained(folder: Path, **settings: Any) -> Run:
    run = Run.create(folder, tiny(rule_options=LOST, meta_steps=2, **settings), [0])
    train(run.chains[0], lambda record: None, lambda: False)
    return run


def test_the_gradient_through_it(double: None) -> None:
    """That of a plain loop, where the rule is lost and rescued now and then; truncation cuts it."""
    torch.manual_seed(0)
    rule = Safeguarded(RULES["lstm"](hidden_size=3, num_layers=1, scale=2.0))
    weights, optimizee = list(rule.parameters()), problems("quadratic", 3)
    rollout = unroll(rule, optimizee, 12, Unrolling(through_path=True))
    expected = torch.autograd.grad(plain_unroll(rule, optimizee, 12).sum(), weights)
    torch.testing.assert_close(torch.autograd.grad(rollout.nll.sum(), weights), expected)
    assert not torch.equal(rollout.nll, unroll(rule.rule, optimizee, 12).nll)
    for cut in (Unrolling(4, through_path=True), Unrolling(through_path=False)):
        gradient = torch.autograd.grad(unroll(rule, optimizee, 12, cut).nll.sum(), weights)
        assert not torch.allclose(gradient[0], expected[0])


def test_training_in_it() -> None:
    """It starts lower, and learns from there."""
    plain, safe = (MetaTraining(tiny(rule_options=LOST, safeguard=worn, meta_steps=30)) for worn in (False, True))
    start = safe.validate().loss
    assert start < 0.5 * plain.validate().loss
    list(safe)
    assert safe.best_validation < 0.9 * start
    assert safe.skipped == 0


def test_it_is_not_compiled() -> None:
    with pytest.raises(ValueError, match="expected safeguard or compiled, got both"):
        Experiment(safeguard=True, compiled=True)


def test_a_file_says_that_the_rule_wears_it(tmp_path: Path) -> None:
    """A user's loop then is the unroll of training, whether the safeguard is asked for or not, and wears it once."""
    chain = trained(tmp_path / "run", safeguard=True).chains[0]
    chain.trained().save(tmp_path / "safe.pt")
    found = TrainedOptimizer.load(tmp_path / "safe.pt")
    assert found.safeguard
    assert found.describe() == "rule lstm in the safeguard, halting stick-breaking, trained on 6 steps"
    objective, alone = chain.load(), problems("quadratic", 1)
    assert isinstance(objective.rule, Safeguarded)
    assert same(objective.rule.rule.state_dict(), found.rule.state_dict())
    with torch.no_grad():
        expected = unroll(objective.rule, alone, 12).nll
        assert not torch.allclose(expected, unroll(objective.rule.rule, alone, 12).nll)
    for asked in (True, False):
        theta = nn.Parameter(alone.theta0["theta"][0].clone())
        for optimizer in (
            LearnedOptimizer([theta], objective.rule, safeguard=asked),
            LearnedOptimizer.from_pretrained([theta], tmp_path / "safe.pt", stop=None, safeguard=asked),
        ):
            assert isinstance(optimizer.rule, Safeguarded)
            assert not isinstance(optimizer.rule.rule, Safeguarded)
            theta.data.copy_(alone.theta0["theta"][0])
            for step in range(13):
                optimizer.zero_grad()
                loss = alone.nll({"theta": theta.unsqueeze(0)}).sum()
                loss.backward()
                optimizer.step(loss=loss)
                assert loss.item() == pytest.approx(float(expected[step, 0]), rel=1e-4)
    trained(tmp_path / "plain").chains[0].trained().save(tmp_path / "plain.pt")
    plain = LearnedOptimizer.from_pretrained([theta], tmp_path / "plain.pt", stop=None, safeguard=False)
    assert not isinstance(plain.rule, Safeguarded)


def test_what_begins_with_it_wears_it(elsewhere: Path) -> None:
    """Unless told otherwise; the weights are those of the rule either way."""
    source = trained(Path("safe"), safeguard=True).chains[0].trained()
    settings = {**tiny().given(), "begin_with": "safe"}
    for asked, worn in ((None, True), (True, True), (False, False)):
        experiment, _ = asked_for({**settings, "safeguard": asked})
        assert experiment.safeguard is worn
        assert_reproduced(experiment)
        training = MetaTraining(experiment)
        training.start_from(source)
        rule = training.objective.rule
        assert same((rule.rule if isinstance(rule, Safeguarded) else rule).state_dict(), source.rule.state_dict())
    trained(Path("plain"))
    experiment, _ = asked_for({**settings, "begin_with": "plain", "safeguard": True})
    assert experiment.safeguard
    assert_reproduced(experiment)


def test_judged_in_it(elsewhere: Path, run: Any) -> None:
    """All wear it but the baselines; a run that was trained in it always does."""
    plain, safe = trained(Path("plain")), trained(Path("safe"), safeguard=True)
    arguments = ("evaluate", "plain", "safe", "--baselines", "sgd", "--at", "6", "--num-optimizees", "5", "--json")
    outcomes = []
    for flags in ([], ["--safeguard"]):
        code, out, err = run(*arguments, *flags)
        assert code == 0, err
        outcomes.append(json.loads(out))
    assert [outcome["safeguard"] for outcome in outcomes] == [False, True]
    losses = [{row["optimizer"]: row["loss"]["6"] for row in outcome["losses"]} for outcome in outcomes]
    assert losses[0]["sgd"] == losses[1]["sgd"]
    test = held_out_problems(plain.experiment, 5)

    def final(rule: Any) -> Any:
        return pytest.approx(float(loss_curve(rule, test, 6)[6].mean()))

    bare, worn = plain.chains[0].load().rule, safe.chains[0].load().rule
    assert losses[0] == {"plain": final(bare), "safe": final(worn), "sgd": losses[0]["sgd"]}
    assert losses[1] == {"plain": final(Safeguarded(bare)), "safe": final(worn), "sgd": losses[0]["sgd"]}
    assert losses[0]["plain"] != losses[1]["plain"]
