"""On a GPU: the same numbers as on the CPU, and files that go from one to the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from probact import FAMILIES, LearnedOptimizer, Run, TrainedOptimizer, unroll
from probact.inference.posteriors.base import POSTERIORS
from probact.judging.trajectory import record
from probact.problems.base import Optimizee
from probact.rules.base import RULES
from probact.runs.assembly import build_objective
from probact.stopping.online import run_until_stopped
from probact.stopping.rules import Hazard
from probact.support.trees import map_params
from probact.training.loop import train
from probact.training.meta_training import MetaTraining
from tests.helpers.checks import OPTIMIZERS, gradients, objective, problems
from tests.helpers.commands import ARGUMENTS
from tests.helpers.trainings import tiny

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


def on_gpu(optimizee: Optimizee) -> Optimizee:
    return optimizee.to("cuda")


@pytest.mark.parametrize("family", ["regression", "student-t", "digits-mixed", "breast-cancer", "mnist", "cifar10"])
def test_problems(family: str, double: None) -> None:
    here = problems(family)
    there = on_gpu(here)
    params = map_params(lambda tensor: tensor.cuda(), here.theta0)
    torch.testing.assert_close(there.nll(params).cpu(), here.nll(here.theta0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(there.loss(params, 3).cpu(), here.loss(here.theta0, 3), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("family", ["regression", "digits-mixed"])
def test_rules(name: str, family: str, double: None) -> None:
    rule, here = RULES[name]().double(), problems(family)
    expected = unroll(rule, here, 12).nll.detach()
    got = unroll(rule.cuda(), on_gpu(here), 12).nll.detach().cpu()
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("estimator", ["enumerate", "collapse", "sample"])
@pytest.mark.parametrize("halting", list(POSTERIORS))
@pytest.mark.parametrize("recompute", [False, True])
def test_the_bound_and_its_gradient(estimator: str, halting: str, recompute: bool, double: None) -> None:
    found = []
    for device in ("cpu", "cuda"):
        built = objective(estimator=estimator, halting=halting, recompute=recompute, device=device).train()
        loss, _ = built(problems("regression").to(device), 1.0, torch.Generator().manual_seed(1))
        found.append((loss.detach().cpu(), {name: g.cpu() for name, g in gradients(loss, built).items()}))
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("settings", [{}, {"safeguard": True}, {"by_segment": True, "objective": "log-loss"},
                                      {"gradient": "pes"}, {"estimator": "sample"}, {"rule": "subspace"}])  # fmt: skip
def test_training_and_its_files(settings: dict[str, Any], tmp_path: Path) -> None:
    """Trained on the GPU, cut and continued there; read, exported and worn on the CPU."""
    run = Run.create(tmp_path / "run", tiny(device="cuda", **settings), [0])
    (chain,) = run.chains
    assert not train(chain, lambda row: None, lambda: len(chain.records()) == 3)
    assert train(chain, lambda row: None, lambda: False)
    whole = MetaTraining(chain.experiment)
    list(whole)
    for name, weight in whole.objective.state_dict().items():
        torch.testing.assert_close(chain.state()["weights"][name], weight.cpu(), rtol=1e-4, atol=1e-6)
    assert next(chain.load().parameters()).is_cuda
    one = chain.trained()
    assert not any(weight.is_cuda for weight in one.rule.parameters())
    one.save(tmp_path / "one.pt")
    theta = nn.Parameter(torch.ones(4))
    optimizer = LearnedOptimizer.from_pretrained([theta], tmp_path / "one.pt")
    theta.square().sum().backward()
    optimizer.step(loss=theta.square().sum())
    assert bool(theta.isfinite().all())


@pytest.mark.parametrize("name", ["subspace-mlp", "subspace-regression", "lstm-regression"])
def test_the_drop_in(name: str) -> None:
    """A network on the GPU, beside the same on the CPU; a state saved on one goes on on the other."""
    paths = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1)).to(device)
        inputs = torch.linspace(-1, 1, 60).reshape(10, 6).to(device)
        optimizer = LearnedOptimizer.from_pretrained(net.parameters(), name, stop=None)
        losses = []
        for _ in range(8):
            optimizer.zero_grad()
            loss = (net(inputs) - 1).square().mean()
            loss.backward()
            optimizer.step(loss=loss)
            losses.append(loss.item())
        again = LearnedOptimizer.from_pretrained(net.parameters(), name, stop=None)
        again.load_state_dict(torch.load(_saved(optimizer), map_location="cpu", weights_only=True))
        assert again.num_steps == optimizer.num_steps
        paths.append(losses)
    assert paths[1] == pytest.approx(paths[0], rel=1e-2, abs=1e-4)


@pytest.mark.parametrize("moves_first", [False, True])
def test_the_drop_in_where_devices_mix(moves_first: bool) -> None:
    """Two layers, of which the second, or at step 4 both, go to the GPU."""
    paths = []
    for there in ("cpu", "cuda"):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1))
        optimizer = LearnedOptimizer.from_pretrained(net.parameters(), "subspace-mlp", stop=None)
        losses = []
        for step in range(8):
            net[2].to(there)
            if moves_first and step == 4:
                net[0].to(there)
            inputs = torch.linspace(-1, 1, 60, device=net[0].weight.device).reshape(10, 6)
            optimizer.zero_grad()
            loss = (net[2](net[1](net[0](inputs)).to(there)) - 1).square().mean()
            loss.backward()
            optimizer.step(loss=loss)
            losses.append(loss.item())
        paths.append(losses)
    assert paths[1] == pytest.approx(paths[0], rel=1e-2, abs=1e-4)


def _saved(optimizer: LearnedOptimizer) -> Any:
    import io

    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    return buffer


def test_stopping() -> None:
    one = TrainedOptimizer.load_named("subspace-regression")
    here = FAMILIES.build("mixed").sample(64, torch.Generator().manual_seed(0))
    expected = run_until_stopped(one.rule, here, 30, Hazard(), one.posterior)
    got = run_until_stopped(
        one.rule.cuda(), on_gpu(here), 30, Hazard(), one.posterior.cuda() if one.posterior else None
    )
    assert float((got.step.cpu() == expected.step).float().mean()) > 0.9
    path = record(one.rule, on_gpu(here), 5, one.posterior)
    assert path.nll.device.type == "cpu"


def test_commands(elsewhere: Path, run: Any) -> None:
    code, _, err = run("fit", *ARGUMENTS, "--device", "cuda", "--out", "gpu")
    assert code == 0, err
    for command in (["halt-stats", "gpu"], ["evaluate", "gpu", "--device", "cuda", "--num-optimizees", "16"],
                    ["evaluate", "gpu", "--num-optimizees", "16"], ["export", "gpu", "--out", "gpu.pt"]):  # fmt: skip
        code, _, err = run(*command)
        assert code == 0, err


def test_an_objective_lives_on_one_device() -> None:
    built = build_objective(tiny(device="cuda"))
    tensors = [*built.parameters(), built.prior.log_horizon()]
    assert {tensor.device.type for tensor in tensors} == {"cuda"}
