"""Steps that overwrite what they are given are those that do not."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from probact import LearnedOptimizer
from probact.drop_in import learned_optimizer
from probact.rules.base import RULES
from probact.rules.matrices import Evener
from probact.rules.overwriting import overwriting
from probact.rules.plan import Plan
from probact.rules.safeguarded import bare
from probact.rules.tensorwise import blocks
from probact.rules.tensorwise.rule import Tensorwise
from probact.rules.tensorwise.signals import even_sample, layout_of
from probact.support.trees import Params, flatten, leaves
from tests.helpers.loops import minibatches

SHAPES = {
    **{"weight": (90, 80), "narrow": (7, 5), "bias": (6,), "kernel": (3, 2, 2, 2), "scale": (1,)},
    **{"large": (70, 1000), "large and narrow": (40, 250), "long": (9000,)},
}


def drawn(seed: int, names: Iterable[str] = tuple(SHAPES)) -> Params:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(1, *SHAPES[name], generator=generator) for name in names}


def walked(rule: Tensorwise, steps: int = 22, names: Iterable[str] = tuple(SHAPES)) -> list[Tensor]:
    """All thetas and memories, as copies."""
    params, state, found = drawn(0, names), rule.init(drawn(0, names)), []
    for step in range(steps):
        state = rule.told(state, Plan.of(torch.full((1,), 30.0), step))
        update, state, features = rule.step(drawn(10 + step, names), state, params, torch.tensor([3.0 - 0.2 * step]))
        params = {name: params[name] + update[name] for name in params}
        found += [part.clone() for part in (flatten(params), features, *leaves(state))]
    return found


@pytest.fixture(params=[True, False])
def adam(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With torch's own Adam, and where it has none."""
    if not request.param:
        monkeypatch.setattr(blocks, "has_adam", lambda like: False)


@pytest.fixture
def rule() -> Tensorwise:
    """With weights that are not those it starts with."""
    torch.manual_seed(0)
    rule = Tensorwise().double()
    with torch.no_grad():
        rule.output.weight.add_(0.1 * torch.randn_like(rule.output.weight))
    return rule


def test_the_path_is_the_same(rule: Tensorwise, double: None, adam: None) -> None:
    with torch.no_grad():
        torch.testing.assert_close(walked(overwriting(rule)), walked(rule), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("names", [("large",), ("scale",), ("narrow", "long")])
def test_the_path_of_few_tensors_is_the_same(rule: Tensorwise, double: None, names: tuple[str, ...]) -> None:
    """None of which may be small, a matrix, or one whose singular values are made equal."""
    with torch.no_grad():
        found, expected = walked(overwriting(rule), names=names), walked(rule, names=names)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_memory_and_update_are_overwritten_only_where_no_graph_is_wanted(rule: Tensorwise, double: None) -> None:
    in_place, params = overwriting(rule), drawn(0)
    state = in_place.init(params)
    with torch.no_grad():
        first, after, _ = in_place.step(drawn(1), state, params, torch.ones(1))
        second, later, _ = in_place.step(drawn(2), after, params, torch.ones(1))
    assert all(one is other for one, other in zip(after.fast, later.fast, strict=True))
    assert first["weight"].data_ptr() == second["weight"].data_ptr()
    before = [part.clone() for part in after.fast]
    update, kept, _ = in_place.step(drawn(3), after, params, torch.ones(1))
    assert update["weight"].requires_grad
    assert kept.fast[0] is not after.fast[0]
    torch.testing.assert_close([*after.fast], before, rtol=0, atol=0)


def test_what_never_had_a_gradient_does_not_move(rule: Tensorwise, double: None) -> None:
    """Single coordinates of a matrix whose singular values are made equal, too."""
    params, state = drawn(0), rule.init(drawn(0))
    for step in range(4):
        grads = drawn(10 + step)
        grads["narrow"][0, 2, 3] = grads["weight"][0, :, 4] = grads["large and narrow"][0, 7, 8] = 0
        with torch.no_grad():
            update, state, _ = rule.step(grads, state, params, torch.ones(1))
        assert float(update["narrow"][0, 2, 3]) == 0
        assert not bool(update["weight"][0, :, 4].any())
        assert all(int((update[name] == 0).sum()) == 1 for name in ("narrow", "large and narrow"))


def test_the_rule_that_was_given_and_copies_have_no_room_of_it() -> None:
    rule = RULES.build("versatile")
    optimizer = LearnedOptimizer(nn.Linear(2, 1).parameters(), rule)
    assert rule.noisy.room is None
    room = bare(optimizer.rule).noisy.room
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        made = bare(other.rule).noisy.room
        assert made is not None
        assert made is not room


def test_what_is_given_to_the_optimizer_is_left_as_it_is() -> None:
    """Gradients, and a state that was saved or loaded, while further steps are made."""
    torch.manual_seed(0)
    model = nn.Linear(6, 4)
    optimizer = LearnedOptimizer.from_pretrained(model.parameters(), "general", stop=None)

    def steps(number: int) -> None:
        for step in range(number):
            for param in model.parameters():
                param.grad = torch.randn_like(param)
            before = [param.grad.clone() for param in model.parameters()]
            optimizer.step(torch.tensor(1.0 + 0.1 * (-1) ** step))
            assert all(map(torch.equal, before, (param.grad for param in model.parameters())))

    steps(8)
    saved = optimizer.state_dict()
    kept = copy.deepcopy(saved)
    optimizer.load_state_dict(saved)
    steps(3)
    torch.testing.assert_close(_tensors(saved), _tensors(kept), rtol=0, atol=0)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 3))


@pytest.mark.parametrize("options", [{}, {"safeguard": False}, {"total_steps": 30}])
def test_layers_that_begin_late_step_as_without_a_room(
    options: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their tensors have the shapes of those that began before."""

    def walked() -> list[Tensor]:
        model = network()
        model[0].requires_grad_(False)
        optimizer = LearnedOptimizer.from_pretrained(model.parameters(), "general", stop=None, **options)
        minibatches(optimizer, model, range(8))
        model[0].requires_grad_(True)
        minibatches(optimizer, model, range(8, 24))
        return [param.detach().clone() for param in model.parameters()]

    found = walked()
    monkeypatch.setattr(learned_optimizer, "overwriting", lambda rule: rule)
    torch.testing.assert_close(found, walked(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("cut", [5, 12, 18])
def test_what_is_saved_goes_on_bit_for_bit(cut: int) -> None:
    """With minibatches in which coordinates have a gradient of 0 that had another before."""
    models, optimizers = [network(), network()], []
    for model in models:
        optimizers.append(LearnedOptimizer.from_pretrained(model.parameters(), "general", stop=None))
        minibatches(optimizers[-1], model, range(cut))
    again = LearnedOptimizer.from_pretrained(models[1].parameters(), "general", stop=None)
    again.load_state_dict(optimizers[1].state_dict())
    minibatches(optimizers[0], models[0], range(cut, cut + 6))
    minibatches(again, models[1], range(cut, cut + 6))
    assert all(map(torch.equal, models[0].parameters(), models[1].parameters()))


def test_a_sample_made_even_is_of_the_places_of_the_others() -> None:
    """Of a tensor so large that its stride cannot be told from the number of its samples."""
    shape = torch.Size([5000, 4000])
    part = torch.randn(1, shape.numel())
    layout = layout_of((shape,), part.dtype, part.device)
    evener, (every,) = Evener.of(part, shape), layout.strides
    assert (part.shape[-1] - 1) // (layout.lengths[0] - 1) != every
    torch.testing.assert_close(even_sample(part, evener, layout.places[0], every), evener.times(part)[:, ::every])


def test_a_rule_that_works_in_no_room_is_not_copied() -> None:
    rule = RULES.build("adam")
    assert overwriting(rule) is rule


def _tensors(state: object) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return [tensor for part in parts for tensor in _tensors(part)]
