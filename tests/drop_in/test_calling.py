"""Every way in which a loop may call the drop-in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from probact import LearnedOptimizer
from probact.rules.base import RULES
from tests.helpers.loops import Regression, descend
from tests.helpers.preloaded import python

SCHEDULERS: list[Callable[[Any], Any]] = [
    lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 2),
    lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8),
    lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=9, cycle_momentum=False),
    lambda optimizer: torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=4),
]


def kept(loop: Regression, step: Callable[[Tensor], Any]) -> Tensor:
    """The weights after three steps, each made by ``step`` of the loss."""
    for _ in range(3):
        loop.optimizer.zero_grad()
        loss = loop.loss()
        loss.backward()
        step(loss)
    return loop.model.weight.detach()


FORMS: list[Callable[[Tensor], Any]] = [
    lambda loss: loss,
    lambda loss: loss.item(),
    lambda loss: {"loss": loss},
    lambda loss: np.float32(loss.item()),
]
WAYS: list[Callable[[LearnedOptimizer, Any], Any]] = [
    lambda optimizer, loss: optimizer.step(loss=loss),
    lambda optimizer, loss: optimizer.step(lambda: loss),
    lambda optimizer, loss: optimizer.step(loss),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_loss(form: Callable[[Tensor], Any], way: Callable[[LearnedOptimizer, Any], Any]) -> None:
    plain, loop = Regression(), Regression()
    expected = kept(plain, lambda loss: plain.optimizer.step(loss=loss))
    assert torch.equal(kept(loop, lambda loss: way(loop.optimizer, form(loss))), expected)


def test_what_a_closure_returned_comes_back() -> None:
    loop = Regression()
    loop.loss().backward()
    output = {"loss": 1.0, "logits": None}
    assert loop.optimizer.step(lambda: output) is output


@pytest.mark.parametrize(
    ("returned", "got"),
    [(None, "NoneType"), ((1.0, 2.0), "tuple"), ("1.0", "str"), ({"nll": 1.0}, "a dict without one"), ([1.0], "list")],
)
def test_closures_without_a_loss(returned: Any, got: str) -> None:
    loop = Regression()
    loop.loss().backward()
    with pytest.raises(ValueError, match=rf"the closure's loss: expected the loss \(.*\), .* got {got}"):
        loop.optimizer.step(lambda: returned)
    with pytest.raises(ValueError, match=r"the closure's loss: expected a loss of one number, got shape \(2,\)"):
        loop.optimizer.step(lambda: torch.ones(2))
    assert loop.optimizer.num_steps == 0


@pytest.mark.parametrize("forgets", [lambda loop: loop.loss(), lambda loop: loop.loss().detach(), lambda loop: 0.5])
def test_a_batch_without_backward_does_not_count(forgets: Callable[[Regression], Any]) -> None:
    loop, whole = Regression("lstm-regression"), Regression("lstm-regression")
    with pytest.raises(ValueError, match="expected a gradient, got none: call backward before, or in the closure"):
        loop.optimizer.step(lambda: forgets(loop))
    loop.run(3)
    loop.optimizer.zero_grad()
    with pytest.warns(UserWarning, match="no parameter has a gradient, so nothing was done"):
        loop.optimizer.step(lambda: forgets(loop))
    loop.optimizer.step(lambda: forgets(loop))
    assert loop.optimizer.num_steps == 3
    loop.run(3), whole.run(6)
    assert torch.equal(loop.model.weight, whole.model.weight)


@pytest.mark.parametrize("num_parts", [2, 4, 8])
def test_gradient_accumulation(num_parts: int) -> None:
    parts, whole = Regression(), Regression()
    whole.run(4)
    for _ in range(4):
        parts.optimizer.zero_grad(set_to_none=False)
        total = 0.0
        for rows in parts.inputs.chunk(num_parts):
            loss = (parts.model(rows) - rows.sum(1, keepdim=True)).square().mean() / num_parts
            loss.backward()
            total += loss.item()
        parts.optimizer.step(loss=total)
    torch.testing.assert_close(parts.model.weight, whole.model.weight, rtol=1e-4, atol=1e-4)


def test_a_gradient_scaler() -> None:
    """Its steps are those without it; a batch whose gradient overflows is left out; without a loss it is told how."""
    plain, scaled = Regression(), Regression()
    plain.run(4)
    scaler = scaled.run_scaled(lambda scaler, loss: scaler.step(scaled.optimizer, loss=loss))
    assert scaled.optimizer.num_steps == 4
    torch.testing.assert_close(scaled.model.weight, plain.model.weight)
    scaler.scale(scaled.loss()).backward()
    with pytest.raises(ValueError, match=r"scaler.step\(optimizer, loss=loss\)"):
        scaler.step(scaled.optimizer)


@pytest.mark.parametrize("make", SCHEDULERS)
@pytest.mark.parametrize("rule", ["adam", "sgd"])
def test_schedulers_multiply_the_step(make: Callable[[Any], Any], rule: str) -> None:
    mine, theirs = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))
    learned = LearnedOptimizer([mine], RULES[rule](lr=1.0), safeguard=False)
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[rule]
    for optimizer, param in ((learned, mine), (kind([theirs], lr=1.0), theirs)):
        scheduler = make(optimizer)
        for _ in range(6):
            optimizer.zero_grad()
            loss = (param - torch.arange(3)).square().sum() / 8
            loss.backward()
            optimizer.step(lambda loss=loss: loss)  # type: ignore[misc]
            scheduler.step()
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("name", ["subspace-mlp", "subspace-regression"])
def test_a_rule_knows_the_step_that_was_made(name: str) -> None:
    """At a tenth of its steps and with weight decay, what it remembers of its path is the path."""
    loop = Regression(name)
    loop.optimizer.param_groups[0].update(lr=0.1, weight_decay=0.01)
    path, losses = [nn.utils.parameters_to_vector(loop.model.parameters()).detach()], []
    means = path[0].repeat(2, 1)
    for _ in range(8):
        losses += loop.run(1)
        path.append(nn.utils.parameters_to_vector(loop.model.parameters()).detach())
        means = means.lerp(path[-1], torch.tensor([[0.1], [0.02]]))
    memory = loop.optimizer._standing.cohorts[0].carry.state.state.state.memory
    torch.testing.assert_close(memory.update[0], path[-1] - path[-2])
    torch.testing.assert_close(path[-1] + memory.trust.to_best[0], path[losses.index(min(losses))])
    torch.testing.assert_close(path[-1] + memory.to_means[0], means)


def test_options_of_each_group() -> None:
    still, slow, shrinking = (nn.Parameter(torch.ones(2)) for _ in range(3))
    groups = [{"params": still, "lr": 0.0}, {"params": [slow], "lr": torch.tensor(0.5)}]
    optimizer = LearnedOptimizer(groups, RULES["sgd"](lr=0.1), safeguard=False)
    optimizer.add_param_group({"params": [shrinking], "weight_decay": 0.5})
    descend(optimizer, lambda: (still + slow).sum() + 0 * shrinking.sum() + 2 * shrinking[0], 1)
    assert still.tolist() == [1, 1]
    assert slow.tolist() == pytest.approx([0.95, 0.95])
    assert shrinking.tolist() == pytest.approx([0.3, 0.5])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"momentum": 0.9}, "has no option 'momentum' here: choose from lr, weight_decay"),
        ({"betas": (0.9, 0.99)}, "has no option 'betas' here"),
        ({"lr": -1.0}, "option 'lr' of a parameter group: expected a number >= 0, got -1.0"),
        ({"weight_decay": float("nan")}, "option 'weight_decay' of a parameter group"),
        ({"lr": "fast"}, "expected a number >= 0, got 'fast'"),
    ],
)
def test_options_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LearnedOptimizer([{"params": [nn.Parameter(torch.ones(2))], **options}], RULES["adam"]())


def test_hooks_of_a_step() -> None:
    loop, called = Regression(), []
    loop.optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: called.append("pre"))
    loop.optimizer.register_step_post_hook(lambda optimizer, args, kwargs: called.append("post"))
    loop.run(2)
    assert called == ["pre", "post"] * 2


REPLICA = """
import sys, torch
from torch import distributed
from probact import LearnedOptimizer
rank, store = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
torch.manual_seed(0)
found = []
for name, stop in (("subspace-mlp", "own"), ("lstm-mlp", "patience=3")):
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(8, 1))
    optimizer = LearnedOptimizer.from_pretrained(model.parameters(), name, stop=stop)
    draws = torch.Generator().manual_seed(rank)
    for step in range(12):
        if optimizer.should_stop():
            break
        inputs = torch.randn(16, 8, generator=draws)
        optimizer.zero_grad()
        loss = (model(inputs) - inputs.sum(1, keepdim=True)).square().mean()
        loss.backward()
        kept = loss.item()
        optimizer.step(loss=loss)
        assert loss.item() == kept
    found += [model.module.weight.detach().flatten(), torch.tensor([optimizer.num_steps, loss.item()])]
mine = torch.cat(found)
both = [torch.zeros_like(mine) for _ in range(2)]
distributed.all_gather(both, mine)
assert torch.equal(both[0][:9], both[1][:9]) and torch.equal(both[0][10:19], both[1][10:19]), both
assert both[0][9] != both[1][9]
"""


def test_replicas_stay_equal(tmp_path: Path) -> None:
    """On minibatches of their own, and losses of their own."""
    store = str(tmp_path / "store")
    ranks = [python(tmp_path, REPLICA, str(rank), store) for rank in range(2)]
    for rank in ranks:
        rank.output()
