"""Copied, pickled, saved and loaded in every way that torch has, the drop-in goes on bit for bit."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

from probact import Budget, LearnedOptimizer, Patience
from probact.rules.base import RULES
from tests.helpers.loops import Regression, descend
from tests.helpers.preloaded import python


def torch_saved(content: Any) -> Any:
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES: list[Callable[[Any], Any]] = [copy.deepcopy, lambda content: pickle.loads(pickle.dumps(content)), torch_saved]


@pytest.mark.parametrize("duplicate", COPIES, ids=["deepcopy", "pickle", "torch.save"])
@pytest.mark.parametrize("after", [0, 5])
def test_copies_go_on(duplicate: Callable[[Any], Any], after: int) -> None:
    """With a scheduler on it, and hooks, which torch does not copy either."""
    loop = Regression(stop="own")
    torch.optim.lr_scheduler.StepLR(loop.optimizer, 3)
    loop.optimizer.register_step_post_hook(lambda *_: None)
    loop.run(after)
    other = Regression()
    other.model, other.optimizer = duplicate((loop.model, loop.optimizer))
    assert other.run(5) == loop.run(5)
    assert torch.equal(other.model.weight, loop.model.weight)
    assert other.optimizer.halting_probability == loop.optimizer.halting_probability


IN_A_FRESH_PROCESS = """
import sys, torch
from tests.helpers.loops import Regression
saved = torch.load(sys.argv[1], weights_only=True)
loop = Regression("lstm-regression", stop="patience=50")
loop.model.load_state_dict(saved["model"])
loop.optimizer.load_state_dict(saved["optimizer"])
print(loop.run(4))
"""


def test_a_fresh_process_goes_on(tmp_path: Path) -> None:
    loop = Regression("lstm-regression", stop="patience=50")
    loop.run(3)
    content = {"model": loop.model.state_dict(), "optimizer": loop.optimizer.state_dict()}
    torch.save(content, tmp_path / "saved.pt")
    found = python(tmp_path, IN_A_FRESH_PROCESS, str(tmp_path / "saved.pt")).output()
    assert found.strip() == str(loop.run(4))


def test_late_parameters_and_options_are_saved() -> None:
    def made() -> tuple[list[nn.Parameter], LearnedOptimizer]:
        params = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2))]
        optimizer = LearnedOptimizer.from_pretrained(params[:1], "subspace-mlp", stop=None)
        return params, optimizer

    def loss_of(params: list[nn.Parameter]) -> Callable[[], torch.Tensor]:
        return lambda: torch.stack([(param - 1).square().sum() for param in params]).sum()

    (params, optimizer), (others, other) = made(), made()
    descend(optimizer, loss_of(params[:1]), 3)
    for each, late in ((optimizer, params[1]), (other, others[1])):
        each.add_param_group({"params": [late]})
    optimizer.param_groups[1]["lr"] = 0.5
    descend(optimizer, loss_of(params), 3)
    other.load_state_dict(optimizer.state_dict())
    for mine, theirs in zip(params, others, strict=True):
        theirs.data.copy_(mine.data)
    assert other.param_groups[1]["lr"] == 0.5
    assert descend(other, loss_of(others), 4) == descend(optimizer, loss_of(params), 4)


@pytest.mark.parametrize(
    "other",
    [
        lambda: Regression("lstm-regression").optimizer,
        lambda: Regression("lstm-general").optimizer,
        lambda: LearnedOptimizer(Regression().model.parameters(), RULES["adam"]()),
        lambda: torch.optim.Adam(Regression().model.parameters()),
        lambda: LearnedOptimizer.from_pretrained([nn.Parameter(torch.ones(5))], "lstm-mlp"),
    ],
)
def test_another_optimizers_state_is_refused(other: Callable[[], Any]) -> None:
    loop, untouched, made = Regression("lstm-mlp"), Regression("lstm-mlp"), other()
    if isinstance(made, LearnedOptimizer):
        descend(made, lambda: sum(p.square().sum() for p in made.param_groups[0]["params"]), 2)  # type: ignore[misc]
    loop.run(2), untouched.run(2)
    with pytest.raises(ValueError, match="not the state of a LearnedOptimizer like this one"):
        loop.optimizer.load_state_dict(made.state_dict())
    with pytest.raises(ValueError, match="not the state of a LearnedOptimizer like this one"):
        loop.optimizer.load_state_dict({})
    assert loop.optimizer.num_steps == 2
    assert loop.run(3) == untouched.run(3)


@pytest.mark.parametrize("stop", ["patience=20", "budget=9", None])
def test_resumed_with_another_stop(stop: str | None) -> None:
    """It begins to count when it is put on; the run goes on."""
    first, second = Regression(stop=Budget(4)), Regression(stop=stop)
    first.run(5)
    assert first.optimizer.should_stop()
    second.model.load_state_dict(first.model.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    assert not second.optimizer.should_stop()
    second.run(5)
    assert second.optimizer.num_steps == 9
    second.run(1)
    assert second.optimizer.should_stop() is (stop == "budget=9")


def test_the_same_stop_stays_and_keeps_its_count() -> None:
    first = Regression(stop=Budget(4), freeze_when_stopped=True)
    first.run(6)
    second = Regression(stop=Budget(4), freeze_when_stopped=True)
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    assert second.optimizer.should_stop()
    waiting = Regression(stop=Patience(3, epsilon=1e9))
    waiting.run(3)
    resumed = Regression(stop=Patience(5, epsilon=1e9))
    resumed.optimizer.load_state_dict(waiting.optimizer.state_dict())
    resumed.model.load_state_dict(waiting.model.state_dict())
    resumed.run(4)
    assert resumed.optimizer.should_stop()
    assert resumed.optimizer.num_steps == 6


def test_hooks_see_and_change_the_state() -> None:
    loop, called = Regression(), []
    loop.run(2)
    optimizer = loop.optimizer
    optimizer.register_state_dict_pre_hook(lambda each: called.append("before saving"))
    optimizer.register_state_dict_post_hook(lambda each, state: {**state, "note": 1})
    optimizer.register_load_state_dict_pre_hook(lambda each, state: called.append(state["note"]))
    optimizer.register_load_state_dict_post_hook(lambda each: called.append("loaded"))
    optimizer.load_state_dict(optimizer.state_dict())
    assert called == ["before saving", 1, "loaded"]


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled", "ignore:.*TypedStorage is deprecated")
@pytest.mark.parametrize("stop", [None, "own", "patience=50"])
def test_distributed_checkpoints(stop: str | None, tmp_path: Path) -> None:
    """Into an optimizer that has made no step, whose memory torch asks for by a step without a loss."""
    loop, other = Regression(stop=stop), Regression(stop=stop)
    loop.run(2)
    loop.optimizer.zero_grad()
    weights, state = get_state_dict(loop.model, loop.optimizer)
    dcp.save({"model": weights, "optimizer": state}, checkpoint_id=tmp_path, no_dist=True)
    weights, state = get_state_dict(other.model, other.optimizer)
    assert other.optimizer.num_steps == 0
    content = {"model": weights, "optimizer": state}
    dcp.load(content, checkpoint_id=tmp_path, no_dist=True)
    set_state_dict(
        other.model, other.optimizer, model_state_dict=content["model"], optim_state_dict=content["optimizer"]
    )
    assert other.optimizer.num_steps == 2
    assert other.run(3) == loop.run(3)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled", "ignore:.*TypedStorage is deprecated")
def test_a_distributed_checkpoint_of_a_rule_that_has_given_up_room(tmp_path: Path) -> None:
    """``versatile`` keeps no last gradient once it knows that they are noisy; the fresh one does not know yet."""

    def begun() -> tuple[nn.Module, LearnedOptimizer]:
        torch.manual_seed(0)
        model = nn.Linear(8, 3)
        return model, LearnedOptimizer(model.parameters(), RULES.build("versatile"), stop=None)

    def walked(model: nn.Module, optimizer: LearnedOptimizer, seeds: range) -> list[torch.Tensor]:
        for seed in seeds:
            x = torch.randn(4, 8, generator=torch.Generator().manual_seed(seed))
            optimizer.zero_grad()
            loss = (model(x) - x[:, :3].sin()).square().mean()
            loss.backward()
            optimizer.step(loss)
        return [param.detach().clone() for param in model.parameters()]

    model, optimizer = begun()
    walked(model, optimizer, range(6))
    optimizer.zero_grad()
    weights, state = get_state_dict(model, optimizer)
    dcp.save({"model": weights, "optimizer": state}, checkpoint_id=tmp_path, no_dist=True)
    other, resumed = begun()
    weights, state = get_state_dict(other, resumed)
    content = {"model": weights, "optimizer": state}
    dcp.load(content, checkpoint_id=tmp_path, no_dist=True)
    set_state_dict(other, resumed, model_state_dict=content["model"], optim_state_dict=content["optimizer"])
    for one, two in zip(walked(model, optimizer, range(6, 10)), walked(other, resumed, range(6, 10)), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


class Late(Regression):
    """A second layer is unfrozen after three steps, at half the pace."""

    def __init__(self, unfrozen: bool) -> None:
        super().__init__()
        late = nn.Linear(5, 1).requires_grad_(unfrozen)
        for param in late.parameters():
            nn.init.constant_(param, 0.1)
        self.model = nn.Sequential(self.model, late)
        groups = [{"params": [*self.model[0].parameters()]}, {"params": [*late.parameters()], "lr": 0.5}]
        self.optimizer = LearnedOptimizer.from_pretrained(groups, "subspace-mlp", stop=None)

    def loss(self) -> torch.Tensor:
        outputs = self.model[0](self.inputs) + self.model[1](self.inputs)
        return (outputs - self.inputs.sum(1, keepdim=True)).square().mean()

    def unfreeze(self) -> None:
        self.model[1].requires_grad_(True)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled", "ignore:.*TypedStorage is deprecated")
def test_a_distributed_checkpoint_of_layers_that_came_late(tmp_path: Path) -> None:
    """A fresh optimizer cannot know which these were, so that it loads the checkpoint as one of ``torch.save``."""
    loop, other = Late(unfrozen=False), Late(unfrozen=True)
    loop.run(3)
    loop.unfreeze()
    loop.run(2)
    loop.optimizer.zero_grad()
    weights, state = get_state_dict(loop.model, loop.optimizer)
    dcp.save({"model": weights, "optimizer": state}, checkpoint_id=tmp_path / "saved", no_dist=True)
    dcp_to_torch_save(tmp_path / "saved", tmp_path / "whole.pt")
    content = torch.load(tmp_path / "whole.pt", weights_only=True)
    set_state_dict(
        other.model, other.optimizer, model_state_dict=content["model"], optim_state_dict=content["optimizer"]
    )
    assert other.optimizer.num_steps == 5
    assert other.run(3) == loop.run(3)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_flattened_state_is_refused() -> None:
    """It has what belongs to single parameters only."""
    loop, flat = Regression(), StateDictOptions(flatten_optimizer_state_dict=True)
    loop.run(2)
    loop.optimizer.zero_grad()
    weights, state = get_state_dict(loop.model, loop.optimizer, options=flat)
    with pytest.raises(ValueError, match="expected 'standing' in it, which flatten_optimizer_state_dict=True loses"):
        set_state_dict(loop.model, loop.optimizer, model_state_dict=weights, optim_state_dict=state, options=flat)
    assert loop.optimizer.num_steps == 2


def test_what_does_not_fit_is_named() -> None:
    """The state of a layer of another size."""
    states = []
    for size in (3, 4):
        model = nn.Linear(size, 2)
        optimizer = LearnedOptimizer(model.parameters(), RULES.build("adam"))
        descend(optimizer, lambda model=model: sum(param.square().sum() for param in model.parameters()), 1)  # type: ignore[misc]
        states.append((optimizer, optimizer.state_dict()))
    with pytest.raises(ValueError, match=r"expected a tensor of shape \(1, 2, 3\).*, got \(1, 2, 4\)"):
        states[0][0].load_state_dict(states[1][1])


def test_a_source_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected the name of a shipped optimizer \(general, .*got 100"):
        LearnedOptimizer.from_pretrained(nn.Linear(2, 1).parameters(), 100)  # type: ignore[arg-type]
