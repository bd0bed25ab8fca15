"""Steps between two looks of ``tensorwise``: what was said is held, momenta go on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from probact.rules.base import RULES
from probact.rules.matrices import THREE, balanced
from probact.rules.overwriting import overwriting
from probact.rules.plan import Plan
from probact.rules.tensorwise.held import FIRST, LONGER
from probact.rules.tensorwise.rule import LONGEST, Tensorwise
from probact.support.trees import Params, State, flatten, leaves, map_state

SHAPES = {"weight": (6, 4), "wide": (70, 66), "bias": (6,), "scale": (1,)}
DECAYS = (0.9, 0.98)
TOTAL = 60.0


def drawn(seed: int, num: int = 1) -> Params:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(num, *shape, generator=generator) for name, shape in SHAPES.items()}


def other(hold: int, seed: int = 0) -> Tensorwise:
    """A rule with weights that are not those it starts with."""
    torch.manual_seed(seed)
    rule = Tensorwise(hold=hold).double()
    with torch.no_grad():
        rule.output.weight.add_(0.1 * torch.randn_like(rule.output.weight))
    return rule


def one(rule: Tensorwise, step: int, params: Params, state: State, scale: float = 1.0) -> tuple[Params, State]:
    """Update and state of a step on drawn gradients times ``scale``."""
    num = len(params["bias"])
    grads = {name: scale * part for name, part in drawn(10 + step, num).items()}
    state = rule.told(state, Plan.of(torch.full((num,), TOTAL), step))
    update, state, features = rule.step(grads, state, params, torch.full((num,), 3.0))
    assert features.shape == (num, rule.num_features)
    return update, state


def walked(rule: Tensorwise, steps: int, num: int = 1) -> tuple[list[Params], Params, State]:
    """Updates, and where it is then."""
    params, state, updates = drawn(0, num), rule.init(drawn(0, num)), []
    for step in range(steps):
        update, state = one(rule, step, params, state)
        updates.append({name: part.detach().clone() for name, part in update.items()})
        params = {name: params[name] + updates[-1][name] for name in params}
    return updates, params, state


def made_equal(sizes: Tensor) -> Tensor:
    """Singular values in the polynomials."""
    for a, b, c in THREE:
        sizes = a * sizes + b * sizes**3 + c * sizes**5
    return sizes


def tensors(rule: Tensorwise, steps: int) -> list[Tensor]:
    updates, _, _ = walked(rule, steps)
    return [flatten(update) for update in updates]


def test_the_first_steps_have_a_look_each(double: None) -> None:
    held, each = tensors(other(4), FIRST + 4), tensors(other(1), FIRST + 4)
    torch.testing.assert_close(held[:FIRST], each[:FIRST], rtol=1e-9, atol=1e-12)
    for one_held, one_each in zip(held[FIRST:], each[FIRST:], strict=True):
        assert not torch.allclose(one_held, one_each, rtol=1e-3)


def test_where_the_loss_jitters_each_step_has_a_look(double: None) -> None:
    """One problem of two has such a loss: its steps are those of a rule that holds nothing."""
    rules, found = (other(4), other(1)), []
    for rule in rules:
        params, state = drawn(0, 2), rule.init(drawn(0, 2))
        for step in range(FIRST + 5):
            state = rule.told(state, Plan.of(torch.full((2,), TOTAL), step))
            loss = torch.tensor([3.0, 3.0 + (-1) ** step])
            update, state, _ = rule.step(drawn(10 + step, 2), state, params, loss)
            params = {name: params[name] + update[name].detach() for name in params}
        found.append(flatten(params))
    quiet, wild = (found[0] - found[1]).abs().amax(-1)
    assert wild < 1e-9
    assert quiet > 1e-3


def test_with_a_look_at_each_step_nothing_is_held() -> None:
    assert other(1).init(drawn(0)).held == ()


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("hold", [3, 4])
def test_steps_between_looks_are_those_of_a_plain_loop(hold: int, in_place: bool, double: None) -> None:
    """Momenta by their definition, rates and what makes matrices even as at the last look, the factor of the plan."""
    rule = other(hold)
    rule = overwriting(rule) if in_place else rule
    params, state = drawn(0), rule.init(drawn(0))
    fast, slow, square = ({name: torch.zeros_like(part) for name, part in params.items()} for _ in range(3))
    checked = 0
    for step in range(FIRST + 2 * hold + 2):
        for name, grad in drawn(10 + step).items():
            fast[name] = DECAYS[0] * fast[name] + (1 - DECAYS[0]) * grad
            slow[name] = DECAYS[1] * slow[name] + (1 - DECAYS[1]) * grad
            square[name] = 0.99 * square[name] + 0.01 * grad**2
        count = step + 1
        before = map_state(Tensor.clone, state)
        with torch.no_grad():
            update, state = one(rule, step, params, state)
        if count <= FIRST or count % hold == 0:
            flat, shapes = [part.flatten(1) for part in fast.values()], [part.shape[1:] for part in fast.values()]
            scaled = zip(fast, balanced(flat, shapes).values(), strict=True)
            even = {name: part / fast[name].flatten(1) for name, part in scaled}
            _, sizes, right = torch.linalg.svd(fast["weight"][0], full_matrices=False)
            equaliser = right.mT @ torch.diag(made_equal(sizes / sizes.norm()) / sizes) @ right
        else:
            biases = [1 - decay**count for decay in (*DECAYS, 0.99)]
            for k, name in enumerate(params):
                root = (square[name] / biases[2]).sqrt()
                momenta = fast[name] / biases[0], slow[name] / biases[1], drawn(10 + step)[name]
                directions = [momentum / root for momentum in momenta]
                directions.append(fast[name] * even[name].view_as(fast[name]))
                directions.append(torch.zeros_like(fast[name]))
                if name == "weight":
                    made = fast[name][0] @ equaliser
                    directions[-1] = made / made.square().mean().sqrt()
                rates = before.held.rates[0, k] * (1 - step / TOTAL)
                expected = sum(rate * part for rate, part in zip(rates, directions, strict=True))
                longest = min(LONGER * rates.abs().sum(), LONGEST * before.size[0, k])
                expected = expected * min(1.0, longest / expected.square().mean().sqrt())
                torch.testing.assert_close(update[name], expected, rtol=1e-7, atol=1e-10)
            checked += 1
        params = {name: params[name] + update[name] for name in params}
    assert checked > hold


def test_problems_that_begin_later_are_as_if_alone(double: None) -> None:
    """One is started afresh at a step, so that its looks are at others' held steps."""
    rule, num = other(4).requires_grad_(False), 2
    params, state = drawn(0, num), rule.init(drawn(0, num))
    alone = {name: part[1:] for name, part in params.items()}
    memory = rule.init(alone)
    for step in range(FIRST + 30):
        update, state = one(rule, step, params, state)
        if step == 6:
            lost = torch.tensor([False, True])
            state = rule.restarted(state, lost, params)
            memory = rule.init(alone)
        elif step > 6:
            single = {name: drawn(10 + step, num)[name][1:] for name in params}
            memory = rule.told(memory, Plan.of(torch.full((1,), TOTAL), step))
            made, memory, _ = rule.step(single, memory, alone, torch.full((1,), 3.0))
            torch.testing.assert_close(flatten(made)[0], flatten(update)[1], rtol=1e-9, atol=1e-12)
        params = {name: params[name] + update[name] for name in params}
        alone = {name: part[1:] for name, part in params.items()}
    kept = [part[1:] for part in leaves(state)]
    torch.testing.assert_close(kept, leaves(memory), rtol=1e-9, atol=1e-12)


def test_held_steps_teach_what_was_said_at_the_look(double: None) -> None:
    """The derivative of all steps from a look to the next is that of finite differences."""
    rule = other(4)
    _, params, state = walked(rule, FIRST + 3)
    state = map_state(Tensor.detach, state)

    def moved() -> Tensor:
        memory, total = state, torch.zeros(())
        for step in range(FIRST + 3, FIRST + 7):
            update, memory = one(rule, step, params, memory)
            total = total + (flatten(update) * flatten(drawn(99))).sum()
        return total

    bias = rule.output.bias
    (found,) = torch.autograd.grad(moved(), bias)
    expected = []
    with torch.no_grad():
        for place in range(len(bias)):
            ends = []
            for sign in (1, -1):
                bias[place] += sign * 1e-5
                ends.append(moved())
                bias[place] -= sign * 1e-5
            expected.append((ends[0] - ends[1]) / 2e-5)
    assert bool((found != 0).all())
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_sudden_gradient_makes_no_long_step(in_place: bool, double: None) -> None:
    rule = overwriting(other(4)) if in_place else other(4)
    with torch.no_grad():
        _, params, state = walked(rule, FIRST + 4)
        update, after = one(rule, FIRST + 4, params, state, scale=1e6)
    for k, name in enumerate(params):
        length = update[name].square().mean().sqrt()
        rates = state.held.rates[0, k] * (1 - (FIRST + 4) / TOTAL)
        longest = torch.minimum(LONGER * rates.abs().sum(), LONGEST * after.size[0, k])
        torch.testing.assert_close(length, longest, rtol=1e-6, atol=0)
        torch.testing.assert_close(after.last_step[0, k] * after.size[0, k], length, rtol=1e-6, atol=0)


def test_a_wrong_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="hold"):
        RULES.build("tensorwise", {"hold": "0"})
