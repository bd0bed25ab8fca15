"""Halting that looks ahead, forgets, recalls what it has not seen or counts in nats, planted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from probact.runs.experiment import Experiment
from probact.stopping import online
from probact.unrolling import looks, rollout, walk
from probact.unrolling.looks import LookMemory
from probact.unrolling.rollout import unroll
from tests.helpers.looks import (
    HORIZON,
    assert_evidence_is_of,
    assert_features_are_those_of_a_loop,
    assert_free_of_units,
    assert_looks_are_causal,
    assert_online_is_the_whole,
    assert_recalls_the_best_so_far,
    looking,
    networks,
    stops_in,
)

pytestmark = pytest.mark.usefixtures("double")


def test_a_look_at_the_step_after() -> None:
    def early(nll: Tensor, price: float) -> Tensor:
        return looks.of_unroll(torch.cat([nll[1:], nll[-1:]]), price)

    with pytest.raises(AssertionError):
        assert_looks_are_causal(early)


def test_a_best_that_knows_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    path = unroll(looking().rule, networks(), HORIZON).nll
    whole = rollout.rollout_of
    monkeypatch.setattr(
        rollout, "rollout_of", lambda *given, **named: (found := whole(*given, **named))._replace(nll=found.nll[-1:])
    )
    with pytest.raises(AssertionError):
        assert_recalls_the_best_so_far(looking().unroll(networks()), path)


def test_evidence_of_the_path_where_the_best_is_returned() -> None:
    built, optimizee = looking(), networks()
    path = unroll(built.rule, optimizee, HORIZON).nll
    with pytest.raises(AssertionError):
        assert_evidence_is_of(built, optimizee, path)


def test_a_stop_that_returns_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "returns_best", lambda *given: False)
    with pytest.raises(AssertionError):
        assert_online_is_the_whole(looking(), networks())


def test_looks_forgotten_where_problems_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = walk.Walk.keep

    def forgetful(self: walk.Walk, index: Tensor) -> None:
        keep(self, index)
        self._looked = None

    monkeypatch.setattr(walk.Walk, "keep", forgetful)
    with pytest.raises(AssertionError):
        assert_online_is_the_whole(looking(), networks())


def test_looks_forgotten_at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    take_in = looks.take_in
    monkeypatch.setattr(looks, "take_in", lambda memory, nll, price: (take_in(memory, nll, price)[0], looks.init(nll)))
    with pytest.raises(AssertionError):
        assert_features_are_those_of_a_loop()


@pytest.mark.parametrize("where", ["looks", "progress"])
def test_losses_in_nats(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if where == "looks":
        take_in = looks.take_in

        def in_nats(memory: LookMemory, nll: Tensor, price: float) -> tuple[Tensor, LookMemory]:
            return take_in(memory, nll, 1.0)

        monkeypatch.setattr(looks, "take_in", in_nats)
    else:
        monkeypatch.setattr(walk.progress_features, "in_prices", lambda signals, price: signals)
    with pytest.raises(AssertionError):
        assert_free_of_units(stops_in)


def test_a_price_without_the_kl_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Experiment, "build_looks", lambda self: looks.Looks(self.step_cost / self.kl_scale, True))
    with pytest.raises(AssertionError):
        assert_free_of_units(stops_in)
