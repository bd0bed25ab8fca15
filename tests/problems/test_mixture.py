from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import xarray as xr

from probact.judging import tuning
from probact.judging.problem_sets import held_out_problems
from probact.judging.tuning import with_tuned_rate
from probact.problems.base import FAMILIES
from probact.problems.network import Network
from probact.runs.assembly import family_judged
from probact.runs.experiment import Experiment
from probact.training.meta_training import MetaTraining
from tests.helpers.commands import ARGUMENTS, call
from tests.helpers.trainings import TINY, same

pytestmark = pytest.mark.usefixtures("undrawn")

MEMBERS = ("quadratic", "mixed", "digits-mixed")


def mixture(*members: str, **settings: object) -> Experiment:
    options = {"members": ",".join(members)}
    return Experiment.create(**{**TINY, "family": "general", "family_options": options, **settings})


def test_a_batch_is_of_one_member_as_that_member_draws_it() -> None:
    family = mixture(*MEMBERS).build_family()
    counts: Counter[int] = Counter()
    for seed in range(300):
        batch = family.sample(2, torch.Generator().manual_seed(seed))
        random = torch.Generator().manual_seed(seed)
        chosen = int(torch.randint(3, (), generator=random))
        alone = FAMILIES[MEMBERS[chosen]]().sample(2, random)
        assert type(batch) is type(alone)
        torch.testing.assert_close(batch.nll(batch.theta0), alone.nll(alone.theta0), rtol=0, atol=0)
        counts[chosen] += 1
    assert min(counts.values()) > 70  # 100 are expected, standard deviation 8


def test_validation_is_on_every_member() -> None:
    """The mean of what each member's own training would find, the diverged added up."""
    whole = MetaTraining(mixture(*MEMBERS)).validate()
    each = [MetaTraining(replace(mixture(*MEMBERS), family=name, family_options={})).validate() for name in MEMBERS]
    assert whole.loss == pytest.approx(sum(one.loss for one in each) / 3)
    assert whole.mean_halting == pytest.approx(sum(one.mean_halting or 0.0 for one in each) / 3)
    assert len({one.loss for one in each}) == 3


def test_weights_are_kept_though_most_problems_of_all_members_diverged() -> None:
    """With this rate every quadratic problem diverges and most regressions: more than one member has."""
    far = {"rule": "sgd", "rule_options": {"lr": 0.1}, "horizon": 120, "validation_problems": 32}
    training = MetaTraining(mixture("quadratic", "regression", **far))
    found = training.validate()
    assert 32 < found.diverged < 64
    assert found.loss < training.best_validation


def test_training_is_on_all_members_and_a_function_of_the_seed() -> None:
    trainings = [MetaTraining(mixture(*MEMBERS, meta_steps=8, validate_every=8, seed=seed)) for seed in (0, 0, 1)]
    sizes = []
    for training in trainings:
        sample = training.family.sample
        training.family.sample = lambda *given, sample=sample: (  # type: ignore[method-assign]
            sizes.append(isinstance(drawn := sample(*given), Network)) or drawn
        )
        list(training)
    assert {True, False} == {*sizes[:8]}
    weights = [training.objective.state_dict() for training in trainings]
    assert same(weights[0], weights[1])
    assert not same(weights[0], weights[2])


def test_judged_on_the_first_member() -> None:
    experiment = mixture("regression", "quadratic")
    assert (family_judged(experiment).family, family_judged(experiment).test_problems) == ("regression", 6)
    plain = Experiment.create(family="regression", test_problems=6)
    torch.testing.assert_close(held_out_problems(family_judged(experiment)).theta0, held_out_problems(plain).theta0)
    assert family_judged(plain) is plain
    tuned = with_tuned_rate(replace(experiment, rule="sgd", horizon=50))
    assert tuned.rule_options["lr"] == json.loads(tuning.TUNED_RATES.read_text())["regression"]["sgd"]["50"]


def test_fit_to_evaluate(elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands in turn; every number is of the first member."""
    run = partial(call, capsys, monkeypatch)
    members = ["--family", "general", "--family-option", "members=mixed,quadratic"]
    code, out, err = run("fit", *ARGUMENTS, *members, "--horizon", "10", "--out", "run")
    assert code == 0, err
    assert "mean over 6 problems of mixed" in out
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["family"] == "mixed"
    start = held_out_problems(Experiment.create(family="mixed", test_problems=6))
    assert summary["initial_loss"] == pytest.approx(float(start.nll(start.theta0).mean()), rel=1e-5)
    with xr.open_datatree("run/posterior.nc") as tree:
        assert tree["constant_data"]["halt_pmf"].sum("step").values == pytest.approx(1.0)
    code, out, _ = run("halt-stats", "run", "--num-optimizees", "6")
    assert code == 0
    assert "family mixed, rule lstm" in out
    result = json.loads(run("evaluate", "run", "--baselines", "adam", "--at", "10", "--json")[1])
    assert result["family"] == "mixed"
    rates = json.loads(tuning.TUNED_RATES.read_text())["mixed"]["adam"]
    assert next(row for row in result["losses"] if row["optimizer"] == "adam")["learning_rate"] == {"10": rates["10"]}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ((), "expected members among the other families, got none"),
        (("mixed", "general"), "expected members among the other families, got mixed, general"),
        (("mixed", "cubic"), "unknown family 'cubic': choose from"),
    ],
)
def test_refusals(members: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mixture(*members).build_family()
