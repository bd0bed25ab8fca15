"""What PyTorch's own loops, options and tools expect of an optimizer."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from probact import LearnedOptimizer
from probact.rules.base import RULES
from probact.support.trees import leaves
from tests.helpers.loops import Regression, descend

KINDS: dict[str, Any] = {"adam": torch.optim.AdamW, "sgd": torch.optim.SGD}


def hill(param: Tensor) -> Tensor:
    return 3 - (param - torch.arange(3)).square().sum()


@pytest.mark.parametrize("rule", ["adam", "sgd"])
@pytest.mark.parametrize("way", ["option", "group"])
def test_maximize_is_that_of_torch(rule: str, way: str) -> None:
    mine, theirs = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))
    learned = (
        LearnedOptimizer([mine], RULES[rule](lr=0.1), maximize=True, safeguard=False)
        if way == "option"
        else LearnedOptimizer([{"params": [mine], "maximize": True}], RULES[rule](lr=0.1), safeguard=False)
    )
    plain = KINDS[rule]([theirs], lr=0.1, maximize=True, weight_decay=0.0)
    for optimizer, param in ((learned, mine), (plain, theirs)):
        for _ in range(5):
            optimizer.zero_grad()
            loss = hill(param)
            loss.backward()
            optimizer.step(lambda loss=loss: loss)  # type: ignore[misc]
    torch.testing.assert_close(mine, theirs)
    assert hill(mine) > hill(torch.zeros(3))


@pytest.mark.parametrize("name", ["subspace-mlp", "subspace-regression", "lstm-regression"])
def test_to_maximize_is_to_minimize_the_negative(name: str) -> None:
    """Learned rules, their line search and their safeguard look at the loss; what comes back is the user's own."""
    up, down = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))
    climbs = LearnedOptimizer.from_pretrained([up], name, stop=None, maximize=True)
    falls = LearnedOptimizer.from_pretrained([down], name, stop=None)
    found = descend(climbs, lambda: hill(up), 4)
    other = LearnedOptimizer.from_pretrained([up], name, stop=None, maximize=True)
    other.load_state_dict(copy.deepcopy(climbs.state_dict()))
    found += descend(other, lambda: hill(up), 4)
    assert found == [-loss for loss in descend(falls, lambda: -hill(down), 8)]
    assert torch.equal(up, down)


def test_groups_that_do_not_agree_on_maximize() -> None:
    params = [nn.Parameter(torch.zeros(2)) for _ in range(2)]
    said = "option 'maximize': expected the same in all parameter groups .* got both"
    groups = [{"params": params[:1]}, {"params": params[1:], "maximize": True}]
    with pytest.raises(ValueError, match=said):
        LearnedOptimizer(groups, RULES["adam"]())
    optimizer = LearnedOptimizer(params[:1], RULES["adam"]())
    with pytest.raises(ValueError, match=said):
        optimizer.add_param_group({"params": params[1:], "maximize": True})
    assert len(optimizer.param_groups) == 1
    optimizer.add_param_group({"params": params[1:]})
    optimizer.param_groups[1]["maximize"] = True
    with pytest.raises(ValueError, match=said):
        descend(optimizer, lambda: params[0].sum(), 1)


def test_options_for_all_groups() -> None:
    """What scripts hand to any optimizer: of groups that do not say otherwise."""
    still, slow = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    groups = [{"params": [still], "lr": 0.0}, {"params": [slow]}]
    options: Any = {"lr": 0.5, "weight_decay": 0.2, "foreach": None, "fused": False}
    optimizer = LearnedOptimizer(groups, RULES["sgd"](lr=0.1), safeguard=False, **options)
    descend(optimizer, lambda: (still + slow).sum(), 1)
    assert still.tolist() == [1, 1]
    assert slow.tolist() == pytest.approx([0.85, 0.85])
    assert optimizer.state_dict()["param_groups"][1].keys() == {"params", "lr", "weight_decay", "maximize"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"foreach": True}, "option 'foreach': expected None or False, as there is one way to step, got True"),
        ({"fused": True}, "option 'fused': expected None or False"),
        ({"maximize": 1}, "option 'maximize' of a parameter group: expected True or False, got 1"),
        ({"betas": (0.9, 0.99)}, "no option 'betas' here: choose from lr, weight_decay, maximize$"),
        ({"lr": -1.0}, "option 'lr' of a parameter group: expected a number >= 0, got -1.0"),
    ],
)
def test_options_refused(options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LearnedOptimizer([nn.Parameter(torch.ones(2))], RULES["adam"](), **options)
    with pytest.raises(ValueError, match=said):
        LearnedOptimizer([{"params": [nn.Parameter(torch.ones(2))], **options}], RULES["adam"]())


def test_named_parameters() -> None:
    named, plain = Regression(), Regression()
    named.optimizer = LearnedOptimizer.from_pretrained(named.model.named_parameters(), "subspace-mlp", stop=None)
    assert named.run(4) == plain.run(4)
    assert named.optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]


def added(loop: Regression, num_steps: int, num_parts: int = 1) -> None:
    """``step()`` without a loss, after ``add_loss`` of each part."""
    for _ in range(num_steps):
        loop.optimizer.zero_grad()
        for rows in loop.inputs.chunk(num_parts):
            loss = (loop.model(rows) - rows.sum(1, keepdim=True)).square().mean() / num_parts
            loss.backward()
            loop.optimizer.add_loss(loss)
        loop.optimizer.step()


def test_a_loss_that_was_added_before() -> None:
    told, plain = Regression(), Regression()
    added(told, 4)
    plain.run(4)
    assert torch.equal(told.model.weight, plain.model.weight)


@pytest.mark.parametrize("num_parts", [2, 4])
@pytest.mark.parametrize("name", ["subspace-mlp", "subspace-regression"])
def test_losses_add_up_as_gradients_do(name: str, num_parts: int) -> None:
    parts, whole = Regression(name), Regression(name)
    added(parts, 4, num_parts)
    whole.run(4)
    torch.testing.assert_close(parts.model.weight, whole.model.weight, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("when", ["in the closure", "twice", "no loss"])
def test_added_and_handed_over(when: str) -> None:
    loop, plain = Regression(), Regression()
    loop.optimizer.zero_grad()
    loss = loop.loss()
    loss.backward()
    if when == "no loss":
        with pytest.raises(ValueError, match=r"add_loss: expected the loss .* got NoneType"):
            loop.optimizer.add_loss(None)
        return
    if when == "twice":
        loop.optimizer.add_loss(loss)
        with pytest.raises(ValueError, match="step: expected the loss once, got loss= and add_loss"):
            loop.optimizer.step(loss=loss)
        with pytest.raises(ValueError, match="step: expected the loss once, got loss= and a closure"):
            loop.optimizer.step(lambda: loss, loss=loss)
        return

    def closure() -> float:
        loop.optimizer.add_loss(loss)
        return 1e9

    assert loop.optimizer.step(closure) == 1e9
    loop.run(2), plain.run(3)
    assert torch.equal(loop.model.weight, plain.model.weight)


def test_a_closure_that_leaves_its_batch_out() -> None:
    loop, plain = Regression(), Regression()
    with pytest.warns(UserWarning, match="the closure returned no loss and left no gradient, so nothing was done"):
        assert loop.optimizer.step(lambda: None) is None
    loop.run(2), plain.run(2)
    assert torch.equal(loop.model.weight, plain.model.weight)


def test_a_gradient_scaler_without_arguments() -> None:
    """Its step that is left out takes its loss along."""
    plain, scaled = Regression(), Regression()
    plain.run(4)

    def step(scaler: torch.amp.GradScaler, loss: Tensor) -> None:
        scaled.optimizer.add_loss(loss)
        scaler.unscale_(scaled.optimizer)
        nn.utils.clip_grad_norm_(scaled.model.parameters(), 1e6)
        scaler.step(scaled.optimizer)

    scaler = scaled.run_scaled(step)
    assert scaled.optimizer.num_steps == 4
    assert scaler.get_scale() == 2.0**9
    assert torch.equal(scaled.model.weight, plain.model.weight)


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "lambda": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "multiplicative": lambda optimizer: lr_scheduler.MultiplicativeLR(optimizer, lambda step: 0.9),
    "multistep": lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [2, 4]),
    "constant": lambda optimizer: lr_scheduler.ConstantLR(optimizer, 0.2, 3),
    "exponential": lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.8),
    "polynomial": lambda optimizer: lr_scheduler.PolynomialLR(optimizer, 6),
    "restarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3),
    "cyclic": lambda optimizer: lr_scheduler.CyclicLR(optimizer, 0.1, 1.0, 2, cycle_momentum=False),
    "plateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=1e3),
    "warm-up": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=3), lr_scheduler.CosineAnnealingLR(optimizer, 4)],
        [3],
    ),
    "chained": lambda optimizer: lr_scheduler.ChainedScheduler(
        [lr_scheduler.LinearLR(optimizer, 0.5), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    ),
    "averaged": lambda optimizer: torch.optim.swa_utils.SWALR(optimizer, 0.05, 3),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_of_torch(name: str) -> None:
    """Each group by its own factor, and cut off and resumed in the middle."""
    mine, theirs = ([nn.Parameter(torch.zeros(3)), nn.Parameter(torch.ones(3))] for _ in range(2))

    def groups(params: list[nn.Parameter]) -> list[dict[str, Any]]:
        return [{"params": params[:1]}, {"params": params[1:], "lr": 0.5}]

    def made(kind: Any) -> tuple[Any, Any]:
        if kind is LearnedOptimizer:
            optimizer = LearnedOptimizer(groups(mine), RULES["sgd"](lr=1.0), safeguard=False)
        else:
            optimizer = kind(groups(theirs), lr=1.0)
        return optimizer, SCHEDULERS[name](optimizer)

    for kind, params in ((LearnedOptimizer, mine), (torch.optim.SGD, theirs)):
        optimizer, schedule = made(kind)
        for step in range(8):
            if step == 4:
                kept = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
                optimizer, schedule = made(kind)
                schedule.load_state_dict(kept[1]), optimizer.load_state_dict(kept[0])
            optimizer.zero_grad()
            loss = torch.stack([(param - torch.arange(3)).square().sum() / 8 for param in params]).sum()
            loss.backward()
            optimizer.step(lambda loss=loss: loss)
            schedule.step(*([loss.item()] if name == "plateau" else []))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other)


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 1)).to(dtype)


def walked(model: nn.Module, called: Callable[[Tensor], Tensor], num_steps: int = 30) -> list[float]:
    X = torch.randn(64, 5, generator=torch.Generator().manual_seed(1))
    X = X.to(next(model.parameters()).dtype)
    optimizer = LearnedOptimizer.from_pretrained(model.parameters(), "subspace-mlp", stop=None)
    return descend(optimizer, lambda: (called(X) - X.sum(1, keepdim=True)).square().mean(), num_steps)


def test_a_model_of_bfloat16() -> None:
    """Its steps are worked out in single precision; what is shorter than a digit of a weight is lost."""
    model = network(torch.bfloat16)
    losses = walked(model, model)
    single = network()
    assert {param.dtype for param in model.parameters()} == {torch.bfloat16}
    assert losses[0] == pytest.approx(walked(single, single, 1)[0], rel=0.02)
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_model(backend: str) -> None:
    plain, model = network(), network()
    torch._dynamo.reset()
    compiled = torch.compile(model, backend=backend)
    assert walked(compiled, compiled, 12) == pytest.approx(walked(plain, plain, 12), rel=1e-2)
    assert model[0].weight.grad is not None


PAGE = (Path(__file__).parents[2] / "docs" / "drop-in.md").read_text()


def test_the_loops_of_the_page() -> None:
    X = torch.randn(64, 5, generator=torch.Generator().manual_seed(1))
    given: dict[str, Any] = {
        "model": network(),
        "batches": iter(X.repeat(10, 1).split(4)),
        "parts": X.split(32),
        "loss_of": lambda model, rows: (model(rows) - rows.sum(1, keepdim=True)).square().mean(),
    }
    whole, in_parts = re.findall(r"```python\n(.*?)```", PAGE.partition("## Lightning")[0], re.DOTALL)
    exec(compile(whole, "docs/drop-in.md", "exec"), given)
    assert given["optimizer"].num_steps == 100
    with pytest.warns(UserWarning, match="fired at step 100, and steps go on"):
        exec(compile(in_parts, "docs/drop-in.md", "exec"), given)
    assert given["optimizer"].num_steps == 101


def test_the_numbers_a_coordinate_of_the_page() -> None:
    """Of the table: counted on two sizes of a layer, whose rows are a tenth of its coordinates."""
    rows = re.findall(r"\| `([\w-]+)` \| (\d+) \| (\d+) \|", PAGE)
    assert len(rows) == 5
    for name, *stated in rows:
        counts = []
        for size in (100, 200):
            weight = nn.Parameter(torch.ones(size, 10))
            optimizer = (
                LearnedOptimizer([weight], RULES.build(name))
                if name in RULES
                else LearnedOptimizer.from_pretrained([weight], name)
            )
            descend(optimizer, lambda weight=weight: weight.square().sum(), 1)  # type: ignore[misc]
            kept = leaves(optimizer._standing.cohorts[0].carry)
            counts.append([sum(part.numel() for part in kept), sum(part.nbytes for part in kept)])
        of_rows = [0.1, 0.4] if name == "tensorwise" else [0, 0]
        found = [(large - small) / 1000 - more for small, large, more in zip(*counts, of_rows, strict=True)]
        assert found == pytest.approx([int(each) for each in stated], abs=1e-9)


@pytest.mark.parametrize(("lr", "warned"), [(1e-3, True), (0.1, False), (1.0, False), (0.0, False)])
def test_a_factor_that_looks_like_a_learning_rate_is_warned_of(lr: float, warned: bool) -> None:
    model = nn.Linear(2, 1)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        LearnedOptimizer.from_pretrained(model.parameters(), "subspace-mlp", lr=lr)
    assert ["1000 times shorter" in str(each.message) for each in said] == ([True] if warned else [])
