"""Paths that the benchmark of style transfers records once, beside paths that are walked anew."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from probact.inference.price import nu_of, price_of
from probact.judging.trajectory import Trajectory, record
from probact.problems.base import FAMILIES, Optimizee
from probact.rules.base import RULES
from probact.runs.assembly import build_objective
from probact.runs.experiment import Experiment
from probact.runs.run import Run
from probact.runs.trained import TrainedOptimizer
from tests.helpers.pictures import draw, folder_of

STEPS = 12
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def benchmark() -> Iterator[tuple[ModuleType, ModuleType]]:
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(ROOT / "benchmarks"))
        import style_heads
        import style_paths

        yield style_paths, style_heads
        for name in ("style_heads", "style_rules", "style_paths"):
            sys.modules.pop(name, None)


def crops(tmp_path: Path, num: int, **options: Any) -> Optimizee:
    content, style = folder_of(tmp_path / "content"), draw(tmp_path / "style.png", seed=9)
    family = FAMILIES.build("style", {"content": (str(content),), "style": (str(style),), "size": 32, **options})
    return family.sample(num, torch.Generator().manual_seed(1))


def trained(paths: ModuleType, heads: ModuleType) -> tuple[TrainedOptimizer, Experiment]:
    """With a head whose weights are not those of the start, so that it sees what it sees."""
    settings = heads.head_settings(Path("none"))
    experiment = Experiment.create(**{**settings, "horizon": STEPS})
    objective = build_objective(experiment)
    assert objective.posterior is not None
    with torch.no_grad():
        objective.posterior.output.weight.normal_(generator=torch.Generator().manual_seed(0))
    rule = RULES.build("subspace")
    return TrainedOptimizer(rule, {}, objective.posterior, experiment.prior_nu, STEPS, experiment.kl_scale), experiment


def same(ours: Trajectory, theirs: Trajectory) -> None:
    torch.testing.assert_close(ours.nll, theirs.nll, rtol=1e-4, atol=1e-5)
    for one, other in zip(ours.known, theirs.known, strict=True):
        assert one.step == other.step
        for value, wanted in zip(one[1:5], other[1:5], strict=True):
            torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-5)


def test_a_path_recorded_once_is_the_one_that_is_judged(
    benchmark: tuple[ModuleType, ModuleType], tmp_path: Path
) -> None:
    paths, heads = benchmark
    one, _ = trained(paths, heads)
    problems = crops(tmp_path, 3)
    same(
        paths.walked(one.rule, problems, STEPS).trajectory(one.posterior),
        record(one.rule, problems, STEPS, one.posterior),
    )


def test_a_factor_on_the_loss_is_another_price(benchmark: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    paths, heads = benchmark
    one, _ = trained(paths, heads)
    at_once = record(one.rule, crops(tmp_path, 3, scale=0.039 * 4), STEPS, one.posterior)
    same(paths.walked(one.rule, crops(tmp_path, 3), STEPS).scaled(1 / 4).trajectory(one.posterior), at_once)


def test_a_head_learns_on_recorded_paths(benchmark: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    paths, heads = benchmark
    one, experiment = trained(paths, heads)
    recorded = paths.walked(one.rule, crops(tmp_path, paths.APART + 8), STEPS)
    found = heads.learn(recorded, experiment, one, 0.039, 20)
    first = heads.learn(recorded, experiment, one, 0.039, 1)
    assert found.validations[20] < first.validations[1]
    assert found.trained.posterior is not one.posterior


@pytest.mark.parametrize("better", ["best", "last"])
def test_of_two_weights_those_are_judged_that_end_lower(
    benchmark: tuple[ModuleType, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, better: str
) -> None:
    import style_rules

    monkeypatch.chdir(tmp_path)
    experiment = Experiment.create(rule="subspace", halting="none", objective="log-loss")
    run = Run.create(tmp_path / "rule-0", experiment, (0,))
    weights = {name: run.chains[0].untrained().state_dict() for name in ("best", "last")}
    weights["last"] = {name: value + 1 for name, value in weights["last"].items()}
    run.chains[0].save({"weights": weights["last"], "best_weights": weights["best"]})
    ended: dict[str, Any] = {}

    def end(_: str, name: str, rule: Any) -> Any:
        ended[name] = rule
        low = (name == "rule-0") == (better == "best")
        return SimpleNamespace(nll=torch.full((style_rules.HORIZON + 1, 4), 1.0 if low else 2.0))

    setting = SimpleNamespace(tuning=4)
    monkeypatch.setattr(style_rules, "Paths", lambda *_: SimpleNamespace(of=end, scale=0.5, setting=setting))
    style_rules.choose(tmp_path, 0)
    assert style_rules.choice_of(tmp_path, 0)["weights"] == better
    kept = TrainedOptimizer.load(style_rules.chosen_of(tmp_path, 0)).rule.state_dict()
    of_name = {"best": "rule-0", "last": "rule-0-last"}
    for name, value in kept.items():
        torch.testing.assert_close(value, weights[better][f"rule.{name}"])
        torch.testing.assert_close(value, ended[of_name[better]].state_dict()[name])


def test_heads_are_taught_at_the_price_of_the_family(benchmark: tuple[ModuleType, ModuleType]) -> None:
    _, heads = benchmark
    given = heads.head_settings(Path("none"))
    default = Experiment.create(family="style")
    assert price_of(given["prior_nu"], given["kl_scale"]) == pytest.approx(default.step_cost)
    assert given["prior_nu"] == pytest.approx(nu_of(default.step_cost, given["kl_scale"]))
