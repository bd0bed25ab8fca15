"""The hierarchical rule: what it does not depend on, what each of its levels does, and that it learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from probact.rules.base import RULES
from probact.rules.hierarchical import FedBackGRU
from probact.runs.experiment import Experiment
from probact.support import compiling
from probact.support.trees import Params, map_params
from probact.training.meta_training import MetaTraining
from probact.unrolling import compilation
from probact.unrolling.rollout import unroll
from probact.unrolling.walk import Unrolling
from tests.helpers.checks import assert_no_leak, gradients, problems

SHAPES = {"a": (3, 4), "b": (5,), "c": (1,)}


def small(**options: Any) -> Any:
    """A rule whose links and outputs are large, so that everything that matters is seen."""
    torch.manual_seed(1)
    rule = RULES["hierarchical"](**{"parameter_size": 4, "tensor_size": 3, "global_size": 2, **options})
    with torch.no_grad():
        for output in (rule.decays, rule.turn, rule.rate_change):
            output.weight.mul_(10)
    return rule


def gradients_seen(num_steps: int = 6, num: int = 2) -> list[Params]:
    torch.manual_seed(3)
    return [{name: torch.randn(num, *shape) for name, shape in SHAPES.items()} for _ in range(num_steps)]


def run(rule: Any, grads: list[Params]) -> tuple[list[Params], Tensor]:
    """The updates that ``grads`` lead to, and the last features."""
    params = map_params(torch.zeros_like, grads[0])
    state, updates, features = rule.init(params), [], torch.empty(0)
    for grad in grads:
        step = rule.step(grad, state, params, torch.zeros(len(grad["a"])))
        state, features = step.state, step.features
        updates.append(step.update)
    return updates, features


@pytest.mark.parametrize("factor", [1e-9, 1e-3, 1e6])
def test_the_scale_of_the_loss_does_not_matter(factor: float) -> None:
    rule, grads = small(), gradients_seen()
    scaled = [map_params(lambda g: factor * g, grad) for grad in grads]
    torch.testing.assert_close(run(rule, scaled), run(rule, grads), rtol=1e-4, atol=1e-6)


def test_coordinates_and_tensors_have_no_order(double: None) -> None:
    """Permuting the coordinates of each tensor permutes the updates; so does renaming the tensors."""
    rule, grads = small(), gradients_seen()
    order = {name: torch.randperm(len(tensor[0].flatten())) for name, tensor in grads[0].items()}

    def permuted(params: Params) -> Params:
        return {name: params[name].flatten(1)[:, order[name]].view_as(params[name]) for name in reversed(params)}

    updates, features = run(rule, grads)
    others, other_features = run(rule, [permuted(grad) for grad in grads])
    torch.testing.assert_close(others, [permuted(update) for update in updates])
    torch.testing.assert_close(other_features, features)


@pytest.mark.parametrize(
    ("part", "first_step"),
    [
        ("parameter_cell", 0),
        ("tensor_cell", 1),
        ("tensor_to_parameter", 1),
        ("global_cell", 1),
        ("global_to_parameter", 1),
        ("global_to_tensor", 2),
        ("decays", 1),
    ],
)
def test_each_level_steers_the_one_below(part: str, first_step: int) -> None:
    """Other weights there, other updates: from the step on by which what it says has come down."""
    rule, grads = small(), gradients_seen()
    before, _ = run(rule, grads)
    with torch.no_grad():
        for weight in getattr(rule, part).parameters():
            weight.add_(torch.randn_like(weight))
    after, _ = run(rule, grads)
    changed = [not torch.allclose(a["a"], b["a"], rtol=1e-5) for a, b in zip(before, after, strict=True)]
    assert changed == [step >= first_step for step in range(len(grads))]


def test_a_tensor_is_told_of_the_others_by_the_global_level_alone() -> None:
    """Another gradient in "b" changes the updates of "a" two steps later, and not once the links are cut."""
    rule, grads = small(), gradients_seen()
    others = [{**grad, "b": grad["b"].square()} for grad in grads]

    def differs() -> list[bool]:
        pairs = zip(run(rule, grads)[0], run(rule, others)[0], strict=True)
        return [not torch.equal(one["a"], other["a"]) for one, other in pairs]

    with torch.no_grad():
        rule.rate_change.weight.zero_()  # rates are compared over the whole problem
        assert differs() == [False, True, True, True, True, True]
        rule.global_to_parameter.weight.zero_()
        assert differs() == [False, False, True, True, True, True]
        rule.global_to_tensor.weight.zero_()
    assert not any(differs())


def test_a_step_is_a_rate_times_a_direction_of_length_one(double: None) -> None:
    """Root mean square 1 in each tensor, however the RNNs turn it; rates multiply up, with an average's inertia."""
    rule = small(rate=0.5)
    with torch.no_grad():
        rule.rate_change.weight.zero_()
        rule.rate_change.bias.fill_(0.3)
    decay = float(torch.sigmoid(rule.rate_logit.detach()))
    for step, update in enumerate(run(rule, gradients_seen())[0]):
        for moved in update.values():
            expected = 0.5 * torch.tensor(0.3 + step * (1 - decay) * 0.3).exp()
            torch.testing.assert_close(moved.square().flatten(1).mean(1).sqrt(), expected.expand(2))


def test_it_starts_as_normalised_momentum(double: None) -> None:
    """Where the RNNs say nothing: the mean over four time scales of Adam's direction, of length one."""
    rule, grads = small(rate=0.5), gradients_seen(8)
    with torch.no_grad():
        for output in (rule.decays, rule.turn, rule.rate_change):
            output.weight.zero_()
    decays = [float(torch.sigmoid(torch.tensor(2.2))) ** (0.5**scale) for scale in range(4)]
    square_decay = float(torch.sigmoid(torch.tensor(3.2)))
    mean, square = [0.0] * 4, [0.0] * 4
    for step, update in enumerate(run(rule, grads)[0], 1):
        g: Any = grads[step - 1]["a"]
        direction = torch.zeros_like(g)
        for scale, decay in enumerate(decays):
            mean[scale] = decay * mean[scale] + (1 - decay) * g
            corrected: Any = mean[scale] / (1 - decay**step)
            square[scale] = square_decay * square[scale] + (1 - square_decay) * corrected**2
            direction -= corrected / (square[scale] / (1 - square_decay**step)) ** 0.5
        length = direction.square().flatten(1).mean(1).sqrt()
        torch.testing.assert_close(update["a"], 0.5 * direction / length.view(-1, 1, 1))


@pytest.mark.parametrize("family", ["quadratic", "digits", "logistic-mixed", "rosenbrock"])
def test_untrained_it_descends(family: str) -> None:
    with torch.no_grad():
        nll = unroll(RULES["hierarchical"](), problems(family, 6), 30).nll.mean(1)
    assert bool((nll[1:] < nll[0]).all())
    assert bool((nll[1:6].diff() < 0).all())


def test_the_cell_is_torchs(double: None) -> None:
    ours, theirs = FedBackGRU(3, 5), nn.GRUCell(3, 5)
    assert theirs.bias_hh is not None
    inputs, hidden, fed_back = torch.randn(3, 4, 2), torch.randn(5, 4, 2), torch.randn(15)
    with torch.no_grad():
        theirs.weight_ih.copy_(ours.from_inputs)
        theirs.weight_hh.copy_(ours.from_hidden)
        theirs.bias_ih.copy_(ours.bias.squeeze(1) + fed_back)
        theirs.bias_hh.zero_()
    found = ours(inputs, hidden, fed_back.view(-1, 1, 1).expand(15, 4, 2)).flatten(1).T
    torch.testing.assert_close(found, theirs(inputs.flatten(1).T, hidden.flatten(1).T))


@pytest.mark.parametrize("truncate", [None, 3])
@pytest.mark.parametrize("through_path", [True, False])
def test_every_weight_learns_and_recomputed_the_same(truncate: int | None, through_path: bool, double: None) -> None:
    """On networks, of several tensors and with minibatches."""
    rule, optimizee, found = small(), problems("digits", 2), []
    for recompute in (False, True):
        rollout = unroll(rule, optimizee, 7, Unrolling(truncate, through_path, recompute))
        found.append(gradients(rollout.nll.sum() + rollout.features.sum(), rule))
    for name, gradient in found[0].items():
        assert float(gradient.abs().max()) > 0, name
    torch.testing.assert_close(found[1], found[0], rtol=1e-8, atol=1e-10)
    assert sum(weight.numel() for weight in RULES["hierarchical"]().parameters()) < 50_000


def test_the_derivative_goes_back_through_every_state(double: None) -> None:
    """Of given gradients' updates, in a random direction of the weights, against finite differences."""
    rule, grads = small(), gradients_seen()
    towards = {name: torch.randn_like(weight) for name, weight in rule.named_parameters()}
    wanted = [map_params(torch.randn_like, grad) for grad in grads]

    def total(size: float) -> Tensor:
        with torch.no_grad():
            for name, weight in rule.named_parameters():
                weight.add_(size * towards[name])
        updates, _ = run(rule, grads)
        return torch.cat(
            [(u[name] * w[name]).flatten() for u, w in zip(updates, wanted, strict=True) for name in u]
        ).sum()

    slope = sum((gradient * towards[name]).sum() for name, gradient in gradients(total(0.0), rule).items())
    torch.testing.assert_close(slope, (total(1e-6) - total(-2e-6)) / 2e-6, rtol=1e-6, atol=0)


def test_problems_with_several_tensors_do_not_leak(double: None) -> None:
    assert_no_leak(partial(unroll, small(), horizon=6), problems("digits", 3))


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-15, 1e15, 1e30])
def test_no_gradient_is_too_small_or_too_large(size: float) -> None:
    """Nothing overflows, not even in the derivative, in single precision."""
    rule, params = small(), {"theta": torch.zeros(2, 3)}
    state, total = rule.init(params), torch.zeros(())
    for grad in ([1.0, 2.0, 0.0], [-1.0, 0.5, 0.0], [1e-3, 1.0, 1.0]):
        step = rule.step({"theta": size * torch.tensor([grad, grad])}, state, params, torch.zeros(2))
        state, total = step.state, total + step.update["theta"].square().sum() + step.features.sum()
        assert float(step.update["theta"].detach().abs().max()) < 0.1
    for name, gradient in gradients(total, rule).items():
        assert bool(gradient.isfinite().all()), name


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    monkeypatch.setattr(compilation, "SEGMENT", 1)
    monkeypatch.setattr(compiling, "failures", [])
    compilation._compile.cache_clear()
    torch._dynamo.reset()
    yield unroll
    compilation._compile.cache_clear()


@pytest.mark.slow
def test_compiled_steps_are_the_same(traced: Callable[..., Any]) -> None:
    rule, optimizee, found = small(), problems("quadratic", 3), []
    for compiled in (True, False):
        rollout = traced(rule, optimizee, 2, Unrolling(truncate=1, compiled=compiled))
        found.append((rollout.nll.detach(), gradients(rollout.nll.sum() + rollout.features.sum(), rule)))
    assert not compiling.failures
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_a_short_training_lowers_the_loss() -> None:
    """The sum of losses on new problems, after 30 meta-steps."""
    training = MetaTraining(
        Experiment.create(
            family="quadratic",
            rule="hierarchical",
            halting="none",
            horizon=15,
            batch=32,
            meta_steps=30,
            lr=0.02,
            through_path=True,
            validate_every=30,
            validation_problems=64,
        )
    )
    before = training.validate().loss
    for _ in training:
        pass
    assert training.best_validation < 0.9 * before


@pytest.mark.parametrize("bad", [{"parameter_size": 0}, {"tensor_size": 0}, {"global_size": 0}, {"rate": 0.0}])
def test_options_are_checked(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"rule 'hierarchical': expected {next(iter(bad))} >"):
        RULES["hierarchical"](**bad)
