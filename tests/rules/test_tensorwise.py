"""The rule for minibatches: what it depends on, what it keeps, and how far it goes."""

import pytest
import torch
from torch import Tensor

from probact.rules.base import RULES
from probact.rules.matrices import sides
from probact.rules.plan import Plan
from probact.rules.tensorwise.decay import NOISE, POWER, share_of
from probact.rules.tensorwise.held import WILD
from probact.rules.tensorwise.rule import LONGEST, STARTS, Tensorwise
from probact.rules.tensorwise.signals import LEAST_SIZE, NUM_SIGNALS, SAMPLE, cosine_with_before, stride
from probact.support.room import BLOCK, Room
from probact.support.trees import Params, State, flatten

SHAPES = {"weight": (6, 4), "bias": (6,), "kernel": (3, 2, 2, 2), "scale": (1,)}


def drawn(seed: int, num: int = 2) -> Params:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(num, *shape, generator=generator) for name, shape in SHAPES.items()}


def walked(rule: Tensorwise, factor: float = 1.0, constant: float = 0.0, steps: int = 6, total: int = 50) -> Tensor:
    """Where it is after ``steps`` with gradients and losses times ``factor``."""
    params, state = drawn(0), rule.init(drawn(0))
    for step in range(steps):
        grads = {name: factor * grad for name, grad in drawn(10 + step).items()}
        loss = factor * torch.tensor([3.0 - 0.2 * step, 1.0 + 0.3 * (-1) ** step]) + constant
        state = rule.told(state, Plan.of(torch.full((2,), float(total)), step))
        update, state, features = rule.step(grads, state, params, loss)
        assert features.shape == (2, NUM_SIGNALS)
        params = {name: params[name] + update[name] for name in params}
    return flatten(params).detach()


@pytest.fixture
def rule() -> Tensorwise:
    """With weights that are not those it starts with."""
    torch.manual_seed(0)
    rule = Tensorwise().double()
    with torch.no_grad():
        rule.output.weight.add_(0.1 * torch.randn_like(rule.output.weight))
    return rule.requires_grad_(False)


@pytest.mark.parametrize("factor", [1e-6, 1e3])
@pytest.mark.parametrize("constant", [0.0, 5.0])
def test_units_and_constants_of_the_loss_change_nothing(
    rule: Tensorwise, factor: float, constant: float, double: None
) -> None:
    torch.testing.assert_close(walked(rule, factor, constant), walked(rule), rtol=1e-6, atol=1e-8)


def test_the_step_falls_to_0_at_the_horizon(double: None) -> None:
    rule = Tensorwise().requires_grad_(False)
    lengths = []
    params, state = drawn(0, 1), rule.init(drawn(0, 1))
    for step in range(20):
        state = rule.told(state, Plan.of(torch.tensor([20.0]), step))
        update, state, _ = rule.step(drawn(1, 1), state, params, torch.ones(1))
        lengths.append(flatten(update).norm().item())
    assert lengths == pytest.approx([lengths[0] * (1 - step / 20) for step in range(20)], rel=0.02)


def test_no_step_is_longer_than_a_share_of_its_tensor(double: None) -> None:
    rule = Tensorwise().requires_grad_(False)
    rule.output.bias += 100
    params = drawn(0)
    params["bias"] = torch.zeros_like(params["bias"])
    update, _, _ = rule.step(drawn(1), rule.init(params), params, torch.ones(2))
    whole = flatten(params).square().mean(-1).sqrt()
    for name, tensor in params.items():
        size = torch.maximum(tensor.flatten(1).square().mean(-1).sqrt(), LEAST_SIZE * whole)
        made = update[name].flatten(1).square().mean(-1).sqrt()
        torch.testing.assert_close(made, LONGEST * size)


def test_it_is_told_of_a_step_that_is_made_otherwise(double: None) -> None:
    rule, params = Tensorwise().requires_grad_(False), drawn(0)
    update, state, _ = rule.step(drawn(1), rule.init(params), params, torch.ones(2))
    half = rule.after_foreign_step(state, {name: 0.5 * part for name, part in update.items()})
    torch.testing.assert_close(half.last_step, 0.5 * state.last_step)
    torch.testing.assert_close(rule.after_foreign_step(state, update).last_step, state.last_step)


def test_it_keeps_three_numbers_a_coordinate() -> None:
    params = {"weight": torch.zeros(1, 100, 100)}  # wider than those whose singular values are made equal
    kept = []

    def count(state: State) -> None:
        for part in state:
            kept.append(part.numel()) if isinstance(part, Tensor) else count(part)

    count(Tensorwise().init(params))
    assert 3 * 10_000 <= sum(kept) < 3 * 10_000 + 300


def test_before_training_the_rates_are_those_that_it_starts_with(double: None) -> None:
    """The first step is on m = n = g, with T = 200: sum of the starts, on a tensor whose coordinates are all alike."""
    rule = Tensorwise().requires_grad_(False)
    params, grads = {"theta": torch.full((1, 5), 2.0)}, {"theta": torch.full((1, 5), 0.3)}
    state = rule.told(rule.init(params), Plan.of(torch.tensor([200.0])))
    update = rule.step(grads, state, params, torch.ones(1)).update["theta"]
    expected = sum(rate for name, rate in STARTS.items() if name != "orthogonal")  # a vector has none
    torch.testing.assert_close(update, torch.full((1, 5), -2.0 * expected), rtol=0.02, atol=0)


def test_signals_of_the_momenta_before_are_those_of_their_definition(double: None) -> None:
    """Made from products with the momenta after this gradient."""
    before = torch.randn(3, 2, 30, generator=torch.Generator().manual_seed(1))
    grad = torch.randn(3, 2, 30, generator=torch.Generator().manual_seed(2))
    after = 0.98 * before + 0.02 * grad
    found = cosine_with_before(*((a * b).mean(-1) for a, b in ((grad, grad), (after, after), (grad, after))), 0.98)
    torch.testing.assert_close(found, torch.cosine_similarity(grad, before, -1))


@pytest.mark.parametrize("shape", [(300, 700), (4096, 64), (123_457,), (64, 32, 3, 3)])
def test_a_sample_is_spread_over_all_rows_and_columns(shape: tuple[int, ...]) -> None:
    rows, columns = sides(torch.Size(shape))
    places = torch.arange(rows * columns)[:: stride(torch.Size(shape))]
    assert 0.5 * SAMPLE < len(places) < 2 * SAMPLE
    assert bool((torch.bincount(places // columns, minlength=rows) <= len(places) / rows + 2).all())
    assert bool((torch.bincount(places % columns, minlength=columns) <= len(places) / columns + 2).all())


def test_a_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden_size"):
        RULES.build("tensorwise", {"hidden_size": "0"})
    with pytest.raises(ValueError, match="decay"):
        RULES.build("tensorwise", {"decay": "-0.1"})


class Shrinking:
    """Two rules with the same weights, one of which shrinks what it moves, on the same path of noisy losses."""

    DECAY = 0.3

    def __init__(self, total: float = 1000.0, jitter: float = 1.0) -> None:
        self.plain = Tensorwise().requires_grad_(False)
        self.shrinking = Tensorwise(decay=self.DECAY).requires_grad_(False)
        self.shrinking.load_state_dict(self.plain.state_dict())
        self.params, self.jitter, self.made = drawn(0), jitter, 0
        self.plan = Plan.of(torch.full((2,), total))
        self.state = self.plain.told(self.plain.init(self.params), self.plan)

    def steps(self, unseen: int = 0) -> tuple[Params, Params]:
        """One from here of each; the first ``unseen`` rows of the matrix have no gradient."""
        self.made += 1
        grads = drawn(self.made)
        grads["weight"][:, :unseen] = 0
        loss = torch.full((2,), 10.0 - self.made + self.jitter * (-1) ** self.made)
        plain = self.plain.step(grads, self.state, self.params, loss)
        shrinking = self.shrinking.step(grads, self.state, self.params, loss)
        self.state = plain.state
        return plain.update, shrinking.update

    def shares(self) -> Tensor:
        """Of the third step: what it takes off the matrix, in lengths of the step."""
        for _ in range(3):
            plain, shrinking = self.steps()
        off = (plain["weight"] - shrinking["weight"]) / self.params["weight"]
        return (off / self.state.last_step[:, 0, None, None]).mean((-2, -1))


def test_matrices_shrink_by_a_share_of_their_step_and_vectors_do_not(double: None) -> None:
    both = Shrinking()
    for _ in range(2):  # of the first two none, as they tell exact gradients
        plain, shrinking = both.steps()
        torch.testing.assert_close(plain, shrinking, rtol=0, atol=0)
    plain, shrinking = both.steps()
    share = share_of(both.state, both.DECAY)
    assert bool((share > 0).all())
    for k, (name, theta) in enumerate(both.params.items()):
        off = share * both.state.last_step[:, k] * (name in ("weight", "kernel"))
        torch.testing.assert_close(shrinking[name], plain[name] - off.view(-1, *[1] * (theta.dim() - 1)) * theta)


def test_it_shrinks_most_where_there_are_many_steps(double: None) -> None:
    whole = Shrinking().shares()
    assert bool((whole > 0).all())
    torch.testing.assert_close(Shrinking(total=3000.0).shares(), whole)
    torch.testing.assert_close(Shrinking(total=100.0).shares(), 10**-POWER * whole)


@pytest.mark.parametrize(
    ("jitter", "expected"), [(1e-4, 0.0), (NOISE / (1 - NOISE), 0.5), (WILD / (1 - WILD), 0.917), (1e3, WILD**6)]
)
def test_it_shrinks_less_where_the_loss_hardly_jitters_or_does_nothing_else(
    jitter: float, expected: float, double: None
) -> None:
    """The loss has fallen from 2 to 1."""
    state = Shrinking().state._replace(
        means=torch.tensor([[1.0, 1.0, jitter, 2.0]]).expand(2, 4), num_seen=torch.ones(2) * 9
    )
    torch.testing.assert_close(share_of(state, 1.0), torch.full((2,), expected), rtol=0.01, atol=1e-3)


def test_rows_without_a_gradient_stay(double: None) -> None:
    both = Shrinking()
    for _ in range(4):
        _, shrinking = both.steps(unseen=2)
        assert bool((shrinking["weight"][:, :2] == 0).all())
        assert bool((shrinking["weight"][:, 2:] != 0).all())


def test_what_shrinks_in_place_is_what_shrinks(double: None) -> None:
    """One problem without a graph works in a room of its own, large matrices block by block, between looks too."""
    rule, found = Tensorwise(decay=0.3).requires_grad_(False), []
    for room in (None, Room()):
        rule.room = room
        params = drawn(0, 1) | {"large": numbers(0)}
        state = rule.init(params)
        for seed in range(1, 20):
            grads = drawn(seed, 1) | {"large": numbers(seed)}
            with torch.no_grad():
                loss = torch.full((1,), 40.0 - seed + (-1) ** seed)
                update, state, _ = rule.step(grads, state, params, loss)
            params = {name: params[name] + update[name] for name in params}
        found.append(params)
    torch.testing.assert_close(found[0], found[1])


def numbers(seed: int) -> Tensor:
    """Of a matrix of more than one block, whose first rows are 0."""
    assert BLOCK < 300 * 300
    made = torch.randn(1, 300, 300, generator=torch.Generator().manual_seed(seed))
    made[:, :20] = 0
    return made


@pytest.mark.parametrize(("share", "longer"), [(1e-7, 1.0), (1e-3, 10.0)])
def test_a_tensor_whose_gradient_is_rounding_alone_does_not_walk_faster_as_it_grows(
    share: float, longer: float, double: None
) -> None:
    """A bias before batch norm has such a one; it is ten times as large by the second step."""
    rule, params, grads = Tensorwise(hold=1).requires_grad_(False), drawn(0), drawn(1)
    rule.output.weight.zero_()
    grads["bias"] *= share
    first, state, _ = rule.step(grads, rule.init(params), params, torch.ones(2))
    state = state._replace(drift=torch.zeros_like(state.drift))
    second = rule.step(grads, state, params | {"bias": 10 * params["bias"]}, torch.ones(2)).update
    torch.testing.assert_close(second["bias"], longer * first["bias"])
