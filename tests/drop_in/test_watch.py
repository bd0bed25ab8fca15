"""The drop-in looks at a validation loss, stops by its monitor, and keeps the parameters of the best look."""

from __future__ import annotations

import copy
import io
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from probact import Budget, HaltingMonitor, LearnedOptimizer
from probact.rules.base import RULES
from tests.helpers.heads import head_file
from tests.helpers.loops import Regression

LOSSES = (3.0, 2.0, 1.0, 1.5, 0.9, 1.4, 1.3)


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    return head_file(tmp_path, -30.0)


@pytest.fixture
def hasty(tmp_path: Path) -> Path:
    return head_file(tmp_path, 30.0)


class Watched(Regression):
    """Validates by a given series of losses, and remembers the weights that it saw."""

    def __init__(self, head: Path | str, losses: Any = LOSSES, **settings: Any) -> None:
        self.losses, self.seen = iter(losses), []
        monitor = HaltingMonitor(1e-3, name=head, maximum_looks=settings.pop("maximum_looks", None))
        super().__init__(**{"stop": "own", "monitor": monitor, "validation": self.validate, **settings})

    def validate(self) -> float:
        self.seen.append(self.model.weight.detach().clone())
        return next(self.losses)


def test_it_looks_before_the_first_step_and_then_every_so_many(patient: Path) -> None:
    loop, alone = Watched(patient, look_every=3), Regression()
    found = loop.run(10)
    assert len(loop.seen) == 4
    assert loop.optimizer.monitor.num_looks == 4
    assert found == alone.run(10)  # looking changes nothing
    weights = []
    again = Regression()
    for steps in (0, 3, 3, 3):
        again.run(steps)
        weights.append(again.model.weight.detach().clone())
    assert all(map(torch.equal, loop.seen, weights))
    assert not loop.optimizer.should_stop()


def test_the_best_are_put_back_only_when_asked(patient: Path) -> None:
    loop = Watched(patient, look_every=2, maximum_looks=6)
    while not loop.optimizer.should_stop():
        loop.run(1)
    assert loop.optimizer.num_steps == 10
    assert torch.equal(loop.model.weight, loop.seen[5])
    assert loop.optimizer.put_back_best() == 0.9
    assert torch.equal(loop.model.weight, loop.seen[4])


def test_going_on_is_said_once_and_looked_at_no_more(hasty: Path) -> None:
    loop = Watched(hasty, look_every=1)
    loop.run(1)
    assert loop.optimizer.should_stop()
    before = loop.model.weight.detach().clone()
    with pytest.warns(UserWarning, match=r"the monitor stopped at look 2 \(another look is not .* and steps go on"):
        loop.run(1)
    loop.run(2)
    assert not torch.equal(before, loop.model.weight)
    assert len(loop.seen) == 2
    frozen = Watched(hasty, look_every=1, freeze_when_stopped=True)
    frozen.run(4)
    assert frozen.optimizer.num_steps == 1


def test_the_user_feeds(patient: Path) -> None:
    monitor = HaltingMonitor(1e-3, name=patient, maximum_looks=3)
    loop = Regression(stop="own", monitor=monitor)
    seen = []
    for loss in (1.0, 0.5, 0.7):
        loop.run(2)
        seen.append(loop.model.weight.detach().clone())
        monitor.update(loss)
    assert loop.optimizer.should_stop()
    assert loop.optimizer.put_back_best() == 0.5
    assert torch.equal(loop.model.weight, seen[1])


def test_the_last_look_is_the_best(patient: Path) -> None:
    loop = Regression(stop=None, monitor=HaltingMonitor(1e-3, name=patient))
    loop.run(2)
    loop.optimizer.monitor.update(1.0)
    weight = loop.model.weight.detach().clone()
    loop.optimizer.state_dict()
    loop.model.weight.data.zero_()
    loop.optimizer.put_back_best()
    assert torch.equal(loop.model.weight, weight)


def test_a_rule_beside_a_monitor(patient: Path) -> None:
    loop = Watched(patient, stop=Budget(3))
    loop.run(4)
    assert loop.optimizer.should_stop()
    assert loop.optimizer.num_steps == 3


def test_a_monitor_takes_the_place_of_the_files_own_stop(patient: Path) -> None:
    assert Watched(patient).optimizer.stop is None
    assert Regression(stop="own").optimizer.stop is not None


def test_what_a_validation_may_return(patient: Path) -> None:
    loop = Watched(patient, (torch.tensor([2.0]), {"loss": 1.0}, math.nan, 3), look_every=1)
    loop.run(3)
    assert loop.optimizer.put_back_best() == 1.0
    for bad in (None, "low", torch.ones(2)):
        with pytest.raises(ValueError, match=r"validation: expected .*loss"):
            Watched(patient, (bad,)).run(1)


def fault(text: str, **settings: Any) -> Any:
    return pytest.param(text, settings, id=text[:40])


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        fault("price: expected validation= or monitor= with it, got neither", price=1.0),
        fault("validation: expected price= .* or monitor= with it", validation=lambda: 1.0),
        fault("validation: expected a callable that returns the loss, got 3", validation=3, price=1.0),
        fault("monitor: expected a HaltingMonitor of one curve, got 'curves'", monitor="curves"),
        fault("look_every: expected a whole number >= 1 of steps, got 0", look_every=0),
        fault("look_every: expected a whole number >= 1 of steps, got True", look_every=True),
        fault("look_every: expected validation= with it, .* got none", look_every=5),
    ],
)
def test_what_does_not_fit(text: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=text):
        LearnedOptimizer([nn.Parameter(torch.ones(2))], RULES["adam"](), **settings)


def test_monitors_that_do_not_fit(patient: Path) -> None:
    with pytest.raises(ValueError, match="look_every: expected validation= with it"):
        Regression(monitor=HaltingMonitor(1.0, name=patient), look_every=5)
    with pytest.raises(ValueError, match="price: expected either price= or monitor=, which has its own, got both"):
        Watched(patient, price=1.0)
    with pytest.raises(ValueError, match="monitor: expected a HaltingMonitor of one curve"):
        Regression(monitor=HaltingMonitor(1.0, num=2, name=patient))


def test_nothing_to_put_back(patient: Path) -> None:
    for loop, said in (
        (Regression(), "an optimizer that was given validation= and price=, or monitor=, got neither"),
        (Watched(patient, (math.nan,)), "a look with a finite validation loss before, got none"),
    ):
        loop.run(1)
        with pytest.raises(ValueError, match=f"put_back_best: expected {said}"):
            loop.optimizer.put_back_best()


def resumed(patient: Path, state: Any, model: Any, losses: Any) -> Watched:
    other = Watched(patient, losses, look_every=2)
    other.model.load_state_dict(model)
    other.optimizer.load_state_dict(state)
    return other


@pytest.mark.parametrize("after", [0, 5])
def test_a_saved_state_goes_on_bit_for_bit(patient: Path, after: int) -> None:
    loop = Watched(patient, look_every=2)
    loop.run(after)
    file = io.BytesIO()
    torch.save({"model": loop.model.state_dict(), "optimizer": loop.optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other = resumed(patient, saved["optimizer"], saved["model"], LOSSES[len(loop.seen) :])
    assert other.run(4) == loop.run(4)
    mine, theirs = loop.optimizer.monitor, other.optimizer.monitor
    assert mine.hazard == theirs.hazard
    assert mine.summary() == theirs.summary()
    assert loop.optimizer.put_back_best() == other.optimizer.put_back_best()
    assert torch.equal(loop.model.weight, other.model.weight)


def test_a_state_without_a_monitor_and_of_another(patient: Path) -> None:
    plain, loop = Regression(stop=None), Watched(patient, look_every=2)
    plain.run(3)
    loop.run(3)
    other = resumed(patient, plain.optimizer.state_dict(), plain.model.state_dict(), LOSSES)
    other.run(2)
    assert other.optimizer.monitor.num_looks == 1
    assert plain.optimizer.state_dict()["param_groups"][0]["watch"] is None
    with pytest.warns(UserWarning, match="LearnedOptimizer: the monitor in the state, .*, are left out") as said:
        plain.optimizer.load_state_dict(loop.optimizer.state_dict())
    assert [warning.filename for warning in said] == [__file__]
    dear = Regression(stop="own", monitor=HaltingMonitor(1.0, name=patient))
    with pytest.raises(
        ValueError, match=r"^monitor: not the state of a HaltingMonitor like this one \(expected the same price\)$"
    ):
        dear.optimizer.load_state_dict(loop.optimizer.state_dict())
    assert dear.optimizer.num_steps == 0


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda content: pickle.loads(pickle.dumps(content))])
def test_copies_have_a_monitor_of_their_own(patient: Path, duplicate: Any) -> None:
    loop = Regression(stop="own", monitor=HaltingMonitor(1e-3, name=patient))
    loop.run(1)
    loop.optimizer.monitor.update(2.0)
    other = Regression()
    other.model, other.optimizer = duplicate((loop.model, loop.optimizer))
    loop.optimizer.monitor.update(1.0)
    assert (loop.optimizer.monitor.num_looks, other.optimizer.monitor.num_looks) == (2, 1)
    assert other.optimizer.put_back_best() == 2.0


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled", "ignore:.*TypedStorage is deprecated")
def test_distributed_checkpoints(patient: Path, tmp_path: Path) -> None:
    loop, other = Watched(patient, look_every=2), Watched(patient, LOSSES[3:], look_every=2)
    loop.run(4)
    loop.optimizer.zero_grad()
    weights, state = get_state_dict(loop.model, loop.optimizer)
    dcp.save({"model": weights, "optimizer": state}, checkpoint_id=tmp_path / "saved", no_dist=True)
    weights, state = get_state_dict(other.model, other.optimizer)
    content = {"model": weights, "optimizer": state}
    dcp.load(content, checkpoint_id=tmp_path / "saved", no_dist=True)
    set_state_dict(
        other.model, other.optimizer, model_state_dict=content["model"], optim_state_dict=content["optimizer"]
    )
    assert other.run(3) == loop.run(3)
    assert other.optimizer.monitor.hazard == loop.optimizer.monitor.hazard
    assert other.optimizer.put_back_best() == loop.optimizer.put_back_best() == 1.0
    assert torch.equal(loop.model.weight, other.model.weight)
