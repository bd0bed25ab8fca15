"""One rule for noisy and for exact gradients: what it takes them for, and what it does then."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from probact import LearnedOptimizer
from probact.problems.base import Optimizee
from probact.rules.base import RULES
from probact.rules.safeguarded import Safeguarded
from probact.rules.versatile import LOOKS, Versatile, VersatileState
from probact.support.trees import flatten, leaves
from probact.unrolling.walk import Unrolling, Walk
from tests.helpers.checks import problems


def walk(family: str, steps: int, num: int = 3, total: int | None = None, **options: Any) -> Walk:
    torch.manual_seed(0)
    found = Walk(RULES.build("versatile"), problems(family, num, **options), unrolling=Unrolling(total_steps=total))
    with torch.no_grad():
        for _ in range(steps):
            found.move()
    return found


def nll(found: Walk) -> Tensor:
    optimizee: Optimizee = found.optimizee
    return optimizee.nll(found.params)


@pytest.mark.parametrize("family", ["quadratic", "regression", "logistic-mixed", "rosenbrock", "breast-cancer"])
def test_full_batches_are_exact(family: str) -> None:
    state: VersatileState = walk(family, LOOKS).carry.state
    assert state.is_exact.tolist() == [True] * 3
    assert state.noisy == ()


@pytest.mark.parametrize(
    ("family", "options"), [("digits", {}), ("digits", {"batch_size": 1}), ("digits-autoencoder", {}), ("assorted", {})]
)
def test_minibatches_are_not(family: str, options: dict[str, Any]) -> None:
    state: VersatileState = walk(family, 20, **options).carry.state
    assert state.is_exact.tolist() == [False] * 3
    assert state.exact == ()


def test_from_there_on_it_is_the_exact_rule(double: None) -> None:
    found = walk("quadratic", LOOKS - 1)
    alone = Walk(Versatile().exact, found.optimizee, step=found.step)
    alone.carry = alone.carry._replace(params=found.params)
    with torch.no_grad():
        for _ in range(15):
            found.move()
            alone.move()
    torch.testing.assert_close(found.params, alone.params)


def test_it_solves_what_is_exact() -> None:
    """And stays exact where the loss is down to its rounding."""
    found = walk("quadratic", 100, num=16)
    optimum = found.optimizee.optimum()
    assert optimum is not None
    assert bool(found.carry.state.is_exact.all())
    assert float((nll(found) - optimum).max()) < 1e-5


class Jittered(nn.Module):
    """A loss that is exact until ``noisy``."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.x, self.theta = torch.randn(200, 8, generator=generator), nn.Parameter(torch.ones(8))
        self.y = self.x @ torch.arange(8.0) + torch.randn(200, generator=generator)
        self.noisy = False
        self.generator = generator

    def forward(self) -> Tensor:
        rows = torch.randint(200, (4,), generator=self.generator) if self.noisy else slice(None)
        return (self.x[rows] @ self.theta - self.y[rows]).square().mean()


def stepped(optimizer: torch.optim.Optimizer, model: Jittered, num: int) -> list[Tensor]:
    path = []
    for _ in range(num):
        optimizer.zero_grad()
        loss = model()
        loss.backward()
        optimizer.step(loss=loss)  # type: ignore[call-arg]
        path.append(model.theta.detach().clone())
    return path


def state_of(optimizer: LearnedOptimizer) -> VersatileState:
    state: VersatileState = optimizer._standing.cohorts[0].carry.state.state.state
    return state


@pytest.mark.parametrize("options", [{"lr": 0.5}, {"lr": 0.3, "weight_decay": 0.1}])
def test_a_step_that_is_made_otherwise_hides_nothing(options: dict[str, float]) -> None:
    torch.manual_seed(0)
    model = Jittered()
    optimizer = LearnedOptimizer([{"params": [model.theta], **options}], RULES.build("versatile"))
    stepped(optimizer, model, 12)
    assert bool(state_of(optimizer).is_exact)
    torch.manual_seed(0)
    model = Jittered()
    model.noisy = True
    optimizer = LearnedOptimizer([{"params": [model.theta], **options}], RULES.build("versatile"))
    stepped(optimizer, model, 12)
    assert not bool(state_of(optimizer).is_exact)


def test_noise_that_comes_later_makes_it_give_way() -> None:
    torch.manual_seed(0)
    model = Jittered()
    optimizer = LearnedOptimizer(model.parameters(), RULES.build("versatile"))
    stepped(optimizer, model, 5)
    assert bool(state_of(optimizer).is_exact)
    model.noisy = True
    stepped(optimizer, model, 150)
    assert not bool(state_of(optimizer).is_exact)
    model.noisy = False
    assert float(model().detach()) < 0.2 * float(Jittered()().detach())


@pytest.mark.parametrize("made", [1, 2, 6])
@pytest.mark.parametrize("noisy", [False, True])
def test_it_goes_on_bit_for_bit_in_whatever_form_its_memory_is(made: int, noisy: bool) -> None:
    models, optimizers = [Jittered(), Jittered()], []
    for model in models:
        torch.manual_seed(0)
        model.noisy = noisy
        optimizers.append(LearnedOptimizer(model.parameters(), RULES.build("versatile"), total_steps=20))
    stepped(optimizers[0], models[0], made)
    models[1].load_state_dict(models[0].state_dict())
    models[1].generator.set_state(models[0].generator.get_state())
    optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    a, b = (stepped(optimizer, model, 8) for optimizer, model in zip(optimizers, models, strict=True))
    assert all(map(torch.equal, a, b))


def test_large_matrices_go_on_bit_for_bit_from_the_step_at_which_gradients_are_known_to_be_noisy() -> None:
    """What was saved has its form of the beginning, and works in the room at once."""

    def model() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 1))

    def goes_on(model: nn.Module, optimizer: LearnedOptimizer, first: int, last: int) -> list[Tensor]:
        for step in range(first, last):
            inputs = torch.randn(64, 6, generator=torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            loss = (model(inputs).squeeze(-1) - inputs[:, 0] * inputs[:, 1]).square().mean()
            loss.backward()
            optimizer.step(loss=loss)
        return [param.detach().clone() for param in model.parameters()]

    models, rule = [model(), model()], RULES.build("versatile")
    optimizers = [LearnedOptimizer(each.parameters(), copy.deepcopy(rule), total_steps=60) for each in models]
    goes_on(models[0], optimizers[0], 0, 3)
    models[1].load_state_dict(copy.deepcopy(models[0].state_dict()))
    optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    a, b = (goes_on(each, optimizer, 3, 12) for each, optimizer in zip(models, optimizers, strict=True))
    assert all(map(torch.equal, a, b))


def test_the_last_step_that_it_is_told_of_leads_to_the_best(double: None) -> None:
    found = walk("rosenbrock", 0, total=17)
    losses = [nll(found)]
    with torch.no_grad():
        for _ in range(17):
            found.move()
            losses.append(nll(found))
    torch.testing.assert_close(losses[-1], torch.stack(losses).min(0).values)


def test_in_the_safeguard_it_is_lost_and_found() -> None:
    """A problem that is lost starts afresh in the form that it has."""
    torch.manual_seed(0)
    rule = Safeguarded(RULES.build("versatile"))
    found = Walk(rule, problems("quadratic", 2))
    with torch.no_grad():
        for _ in range(6):
            found.move()
        inner = found.carry.state.state
        restarted = rule.rule.restarted(inner, torch.tensor([True, False]), found.params)
    fresh = Versatile().exact.init(found.params)
    assert float(restarted.exact.memory.basis[0].abs().max()) == float(fresh.memory.basis[0].abs().max()) == 0
    torch.testing.assert_close(restarted.exact.memory.basis[1], inner.exact.memory.basis[1])
    assert restarted.is_exact.tolist() == [True, True]


def test_it_remembers_little_once_gradients_are_known_to_be_noisy() -> None:
    """Three running means, what makes singular values equal, and with the safeguard the best iterate."""
    torch.manual_seed(0)
    model = nn.Linear(100, 40)
    optimizer = LearnedOptimizer(model.parameters(), RULES.build("versatile"), stop=None)
    for _ in range(LOOKS + 1):
        optimizer.zero_grad()
        x = torch.randn(8, 100)
        loss = (model(x) - x[:, :40].sin()).square().mean()
        loss.backward()
        optimizer.step(loss=loss)
    assert state_of(optimizer).grad == ()
    kept = [leaf for leaf in leaves(optimizer._standing.cohorts[0].carry) if leaf.is_floating_point()]
    assert sum(leaf.numel() for leaf in kept) < 4 * 4040 + 2100


def test_settled_or_not_the_path_is_the_same() -> None:
    """What it does until then is done in full."""
    alone = Walk(RULES.build("versatile"), problems("digits", 2))
    with torch.no_grad():
        for _ in range(LOOKS):
            alone.move()
        settled = alone.carry
        unsettled = settled._replace(
            state=settled.state._replace(grad=flatten(settled.params), update=torch.zeros_like(flatten(settled.params)))
        )
        loss, grads = alone.nll(), {name: 0.1 * theta for name, theta in settled.params.items()}
        steps = [alone.rule.step(grads, carry.state, carry.params, loss) for carry in (settled, unsettled)]
    torch.testing.assert_close(steps[0].update, steps[1].update)
    torch.testing.assert_close(steps[0].features, steps[1].features)
