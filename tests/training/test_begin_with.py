from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from probact.inference.objectives.base import Objective
from probact.judging.problem_sets import held_out_problems
from probact.judging.trajectory import loss_curve
from probact.reports.run_report import report
from probact.rules.base import RULES
from probact.runs.assembly import build_objective
from probact.runs.experiment import Experiment
from probact.runs.run import Run
from probact.runs.sources import best_of
from probact.runs.trained import TrainedOptimizer
from probact.training.loop import restore, train
from probact.training.meta_training import MetaTraining
from tests.helpers.commands import ARGUMENTS, refused
from tests.helpers.trainings import same, tiny

pytestmark = pytest.mark.usefixtures("undrawn")

OPTIONS = {"hidden_size": 4}


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in module.state_dict().items()}


def pretrained(**settings: Any) -> TrainedOptimizer:
    """An optimizer that no seed makes by itself."""
    built = build_objective(tiny(rule_options=OPTIONS, seed=77, **settings))
    return TrainedOptimizer(built.rule, OPTIONS, built.posterior, 0.9, 6)


def begun(source: TrainedOptimizer, **settings: Any) -> MetaTraining:
    training = MetaTraining(tiny(rule_options=OPTIONS, begin_with="source", **settings))
    training.start_from(source)
    return training


def halting(objective: Objective) -> torch.nn.Module:
    assert objective.posterior is not None
    return objective.posterior


@pytest.mark.parametrize("estimator", ["collapse", "sample"])
def test_a_frozen_rule_keeps_every_bit_and_its_halting_learns(estimator: str) -> None:
    source = pretrained()
    kept, head = weights(source.rule), weights(source.posterior)  # type: ignore[arg-type]
    training = begun(source, freeze_rule=True, estimator=estimator)
    list(training)
    assert same(weights(training.objective.rule), kept)
    assert training.skipped == 0
    learned = weights(halting(training.objective))
    assert all(not torch.equal(learned[name], head[name]) for name in head)
    training = begun(source, estimator=estimator)
    list(training)
    assert not same(weights(training.objective.rule), kept)


def test_a_frozen_rule_unrolls_without_a_graph() -> None:
    for frozen in (True, False):
        objective = begun(pretrained(), freeze_rule=frozen).objective
        rollout = objective.unroll(tiny().build_family().sample(3, torch.Generator().manual_seed(0)))
        assert rollout.nll.requires_grad is not frozen
        assert rollout.features.requires_grad is not frozen


def test_halting_is_taken_over_if_it_is_of_the_same_kind() -> None:
    """Else, and where the source has none, it is what the seed makes of it."""
    source, fresh = pretrained(), build_objective(tiny(rule_options=OPTIONS, halting="softmax"))
    assert same(weights(halting(begun(source).objective)), weights(source.posterior))  # type: ignore[arg-type]
    other = begun(source, halting="softmax").objective
    assert same(weights(halting(other)), weights(halting(fresh)))
    assert same(weights(other.rule), weights(source.rule))
    begun(source, halting="none")
    none = begun(pretrained(halting="none")).objective
    assert same(weights(halting(none)), weights(halting(build_objective(tiny(rule_options=OPTIONS)))))


@pytest.mark.parametrize("stop_after", [0, 3])
def test_resumed_without_the_source_bit_for_bit(stop_after: int, tmp_path: Path) -> None:
    """Also where it was interrupted before its first checkpoint, and for each of its seeds."""
    source, runs = pretrained(), []
    for name in ("whole", "broken"):
        experiment = tiny(rule_options=OPTIONS, begin_with=str(tmp_path / "source.pt"))
        runs.append(Run.create(tmp_path / name, experiment, [0, 1], source))
    for chain in runs[0].chains:
        train(chain, lambda record: None, lambda: False)
    resumed = Run.open(tmp_path / "broken")
    assert resumed.experiment == replace(runs[1].experiment, seed=0)
    for chain in resumed.chains:
        if stop_after:
            assert not train(chain, lambda record: None, lambda c=chain: len(c.records()) >= stop_after)
        train(chain, lambda record: None, lambda: False)
    for chain, whole in zip(resumed.chains, runs[0].chains, strict=True):
        expected, got = MetaTraining(chain.experiment), MetaTraining(chain.experiment)
        restore(whole, expected)
        restore(chain, got)
        assert same(weights(got.objective), weights(expected.objective))
        assert same(got.best_weights, expected.best_weights)
    assert not same(weights(resumed.chains[0].load()), weights(resumed.chains[1].load()))


def test_before_training_it_is_the_source(tmp_path: Path) -> None:
    """So says the report; the best weights of a run that did not train are the source's."""
    source = pretrained()
    run = Run.create(tmp_path / "run", tiny(rule_options=OPTIONS, begin_with="gone", meta_steps=0), [0], source)
    (chain,) = run.chains
    train(chain, lambda record: None, lambda: False)
    assert same(weights(chain.load().rule), weights(source.rule))
    summary = report(run)
    assert summary.start_loss_at == pytest.approx(summary.loss_at)
    losses = loss_curve(source.rule, held_out_problems(run.experiment), 6)
    assert summary.start_loss_at["6"] == pytest.approx(float(losses[-1].mean()))


def test_of_several_seeds_the_best(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", tiny(rule_options=OPTIONS), [1, 0, 2])
    for chain in run.chains:
        train(chain, lambda record: None, lambda: False)
    losses = [MetaTraining(chain.experiment) for chain in run.chains]
    for chain, training in zip(run.chains, losses, strict=True):
        restore(chain, training)
    best = min(losses, key=lambda training: training.best_validation)
    found = best_of(str(run.folder))
    assert {f"rule.{name}" for name in weights(found.rule)} < set(best.best_weights)
    assert all(torch.equal(weight, best.best_weights[f"rule.{name}"]) for name, weight in weights(found.rule).items())
    assert best is losses[1], "choose other seeds: the best is to be neither the first nor the last"


def test_nothing_trains_from_weights_that_were_not_given() -> None:
    training = MetaTraining(tiny(rule_options=OPTIONS, begin_with="nag.pt"))
    with pytest.raises(ValueError, match=r"expected start_from, the weights of 'nag.pt', before training"):
        next(iter(training))
    with pytest.raises(ValueError, match=r"expected the weights of rule 'lstm' with options \{\}, got 'lstm' with {'h"):
        MetaTraining(tiny(begin_with="nag.pt")).start_from(pretrained())
    with pytest.raises(ValueError, match="nothing to train: rule 'lstm' is frozen and halting is 'none'"):
        begun(pretrained(), freeze_rule=True, halting="none")


def test_on_the_command_line(elsewhere: Path, run: Any) -> None:
    """Two phases: learn to optimize, then when to stop."""
    (chain,) = Run.create(Path("first"), tiny(rule_options={"hidden_size": "4"}, halting="none"), [0]).chains
    train(chain, lambda record: None, lambda: False)
    assert run("export", "first", "--out", "first.pt")[0] == 0
    from_folder, from_file = (best_of(source) for source in ("first", "first.pt"))
    assert same(weights(from_folder.rule), weights(from_file.rule))
    code, _, err = run("fit", *ARGUMENTS, "--begin-with", "first.pt", "--freeze-rule", "--out", "second")
    assert code == 0, err
    settings = json.loads((elsewhere / "second" / "experiment.json").read_text())
    assert (settings["begin_with"], settings["freeze_rule"]) == ("first.pt", True)
    assert settings["rule_options"] == {"hidden_size": "4"}
    assert same(weights(Run.open(Path("second")).chains[0].load().rule), weights(from_file.rule))

    given = ["fit", *ARGUMENTS, "--out", "x", "--begin-with"]
    refused(run(*given, "first", "--rule", "adam"), "--rule adam: expected lstm, the rule of first")
    refused(run(*given, "first", "--rule-option", "hidden-size=4"), "--rule-option: first has its own: drop hidden_si")
    refused(run(*given, "nowhere"), "nowhere")
    refused(run(*given, "."), "no run there")
    refused(run(*given, "first", "--freeze-rule", "--halting", "none"), "nothing to train: rule 'lstm' is frozen")
    refused(run("fit", *ARGUMENTS, "--out", "x", "--freeze-rule"), "freeze-rule: expected begin-with")
    assert not Path("x").exists()


def test_the_record_is_plain() -> None:
    experiment = tiny(begin_with="runs/first", freeze_rule=True)
    assert Experiment.from_json(experiment.to_json()) == experiment


def test_a_rule_that_is_made_of_others_begins_with_one_of_them(run: Any, elsewhere: Path) -> None:
    part = RULES.build("tensorwise")
    with torch.no_grad():
        part.output.bias.add_(1.0)
    TrainedOptimizer(part, {}, None, 0.95, 10).save(Path("part.pt"))
    asked = ("--family", "assorted", "--rule", "versatile", "--begin-with", "part.pt", "--meta-steps", "0")
    few = ("--horizon", "2", "--batch", "2", "--validation-problems", "1", "--test-problems", "2", "--halting", "none")
    code, _, err = run("fit", *asked, *few, "--out", "whole")
    assert code == 0, err
    code, _, err = run("export", "whole", "--out", "whole.pt", "--card")
    assert code == 0, err
    whole = TrainedOptimizer.load(Path("whole.pt")).rule
    torch.testing.assert_close(whole.noisy.state_dict(), part.state_dict())
    assert "--rule versatile --begin-with part.pt" in Path("whole.md").read_text()
    refused(run("fit", *asked[:2], "--rule", "nag", *asked[4:], "--out", "x"), "--rule nag: expected tensorwise")


def test_a_rule_with_branches_has_no_evolution(run: Any, elsewhere: Path) -> None:
    given = ("--rule", "versatile", "--halting", "none", "--objective", "final-loss", "--gradient", "pes")
    said = run("fit", "--family", "assorted", *given, "--out", "x")
    refused(said, "gradient pes: expected a rule without branches", "tensorwise", "got 'versatile'")
