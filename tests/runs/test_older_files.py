"""What version 0.1.0 wrote is still read, and means the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from probact import FAMILIES, LearnedOptimizer, Prior, Run, TrainedOptimizer
from probact.judging.trajectory import record
from probact.reports.posterior_file import load, tables
from probact.rules.safeguarded import Safeguarded
from probact.training.loop import train

OLD = Path(__file__).parents[1] / "data" / "0.1.0"
SHIPPED = json.loads((OLD / "shipped.json").read_text())


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    shutil.copytree(OLD / "interrupted", tmp_path / "run")
    (chain,) = Run.open(tmp_path / "run").chains
    assert train(chain, lambda row: None, lambda: False)
    (whole,) = Run.open(OLD / "run").chains
    for name, weight in whole.state()["weights"].items():
        torch.testing.assert_close(chain.state()["weights"][name], weight, rtol=1e-4, atol=1e-6)
    assert [row["step"] for row in chain.records()] == [row["step"] for row in whole.records()]


def test_a_run_is_what_its_export_is() -> None:
    (chain,) = Run.open(OLD / "run").chains
    here, there = chain.trained(), TrainedOptimizer.load(OLD / "lstm.pt")
    assert here.posterior is not None
    assert there.posterior is not None
    for module, other in ((here.rule, there.rule), (here.posterior, there.posterior)):
        torch.testing.assert_close(module.state_dict(), other.state_dict(), rtol=0, atol=0)
    assert (here.nu, here.horizon, here.options) == (there.nu, there.horizon, there.options)


def test_settings_of_before_have_the_prior_of_before() -> None:
    settings = json.loads((OLD / "run" / "experiment.json").read_text())
    assert "horizon_prior" not in settings
    experiment = Run.open(OLD / "run").experiment
    assert (experiment.horizon_prior, experiment.halting_prior) == ("geometric", "geometric")
    assert torch.equal(
        experiment.build_prior().log_marginal(), Prior(experiment.prior_nu, experiment.horizon).log_marginal()
    )


def test_a_posterior_file() -> None:
    data = tables(load(OLD / "run" / "posterior.nc"))
    assert data.halt_pmf.shape == (1, 6, 6)
    assert data.halt_pmf.sum("step").values == pytest.approx(1.0)


def test_commands(run: Any, tmp_path: Path) -> None:
    shutil.copytree(OLD / "run", tmp_path / "run")
    for command in (["halt-stats", str(tmp_path / "run"), "--num-optimizees", "4"], ["plot", str(tmp_path / "run")]):
        code, _, err = run(*command)
        assert code == 0, err
    code, out, err = run("export", str(tmp_path / "run"), "--out", str(tmp_path / "new.pt"), "--card")
    assert code == 0, err
    assert "rule lstm, halting stick-breaking, trained on 6 steps" in out


@pytest.mark.parametrize("name", ["lstm.pt", "nag.pt"])
def test_an_exported_file_is_worn(name: str) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = LearnedOptimizer.from_pretrained([weight], OLD / name, stop=None)
    assert isinstance(optimizer.rule, Safeguarded)
    for _ in range(3):
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        optimizer.step(loss=loss)
    assert optimizer.num_steps > 0
    assert bool(weight.isfinite().all())


@pytest.mark.parametrize("case", list(SHIPPED["paths"]))
def test_shipped_optimizers_do_what_they_did(case: str) -> None:
    """Every number that they rest on: features and their scales, signals, clamps, the trust region, the head."""
    name, family = case.split()
    one, expected = TrainedOptimizer.load_named(name), SHIPPED["paths"][case]
    problems = FAMILIES.build(family).sample(SHIPPED["problems"], torch.Generator().manual_seed(SHIPPED["seed"]))
    dtype = getattr(torch, expected.get("dtype", "float32"))
    rule = (Safeguarded(one.rule) if one.safeguard else one.rule).to(dtype)
    rule.backtracks = False  # the path as it is walked
    assert one.posterior is not None
    path = record(rule, problems.to(dtype), max(SHIPPED["steps"]), one.posterior.to(dtype))
    nll = torch.stack([path.nll[step] for step in SHIPPED["steps"]])
    hazard = torch.stack(
        [known.hazard for step in SHIPPED["steps"] if (known := path.known[step - 1]).hazard is not None]
    )
    torch.testing.assert_close(nll, torch.tensor(expected["nll"], dtype=nll.dtype), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(hazard, torch.tensor(expected["hazard"], dtype=nll.dtype), rtol=1e-2, atol=1e-5)
