"""Paths of style transfers, each made once and kept: a judging that was cut off goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from probact.inference.posteriors.base import HaltingPosterior
from probact.judging.problem_sets import held_out_problems, tuning_problems
from probact.judging.trajectory import Trajectory
from probact.problems.base import Optimizee
from probact.rules.base import UpdateRule
from probact.runs.experiment import Experiment
from probact.stopping.base import Known
from probact.support.randomness import random_stream
from probact.support.tensor_files import load_tensors, save_tensors
from probact.unrolling import looks as looks_at_x, progress
from probact.unrolling.begin import begin
from probact.unrolling.looks import Looks
from probact.unrolling.rollout import Rollout
from probact.unrolling.walk import rows

HORIZON = 128
PHOTOS = {"features": "lite0", "content": ["photos"]}
TRAINED = {**PHOTOS, "style": ["brick", "gravel"]}
HEADS, APART = 64, 24
"""Crops of the training photographs on whose paths a halting posterior learns; so many of them, the last, teach it
nothing: they validate it, and tune stops."""
SIDE_BY_SIDE = 16 * 64**2
"""Pixels of crops that run side by side, and lie in one file: as many as the caches of a core like."""


class Setting(NamedTuple):
    """What is judged on.

    :ivar options: of the family.
    :ivar test, tuning: numbers of crops.
    :ivar rates: of each baseline those that are tried.
    :ivar stops: number of test crops for stops of the learned optimizer, of which ``test`` are the first; 0: none.
    """

    options: Mapping[str, Any]
    test: int
    tuning: int
    rates: Mapping[str, tuple[float, ...]]
    stops: int = 0

    def experiment(self) -> Experiment:
        return Experiment.create(
            family="style", family_options=dict(self.options), validation_problems=self.tuning, test_problems=self.test
        )


_RATES = {
    "adam": (0.01, 0.02, 0.03, 0.05),
    "lbfgs": (0.01, 0.03, 0.1, 0.3),
    "nag": (0.01, 0.03, 0.05),
    "rmsprop": (0.005, 0.01, 0.02),
}
SETTINGS = {
    "trained": Setting(TRAINED, 100, 16, _RATES, 100),
    "grass": Setting({**PHOTOS, "style": ["grass"]}, 48, 16, _RATES),
    "grass-128": Setting({**PHOTOS, "style": ["grass"], "size": 128}, 16, 4, _RATES),
}


class Rows(NamedTuple):
    """What is seen on a path from theta_0 on, in nats.

    :ivar nll: ``(K + 1, L)``, of theta_t itself.
    :ivar of_rule: the rule's features, ``(K + 1, L, F')``.
    :ivar signals: those of its progress, ``(K + 1, 4, L)``.
    """

    nll: Tensor
    of_rule: Tensor
    signals: Tensor

    def select(self, index: Tensor) -> Rows:
        return Rows(self.nll[:, index], self.of_rule[:, index], self.signals[..., index])

    def scaled(self, factor: float | Tensor) -> Rows:
        """As if the loss were ``factor`` times as large: a step then costs 1 / ``factor`` of what it did.

        :param factor: or one of each problem, ``(L,)``.
        """
        k = torch.as_tensor(factor, dtype=self.nll.dtype).expand(self.nll.shape[1])
        return Rows(self.nll * k, self.of_rule, self.signals * torch.stack([k, k.square(), k, torch.ones_like(k)]))

    def features(self, looks: Looks) -> Tensor:
        """What a halting posterior sees, ``(K, L, F)``."""
        of_unroll = progress.of_unroll(progress.in_prices(self.signals, looks.price))
        return torch.cat([self.of_rule, of_unroll, looks_at_x.of_unroll(self.nll, looks.price)], -1)[1:]

    def rollout(self, looks: Looks) -> Rollout:
        return Rollout(self.nll.cummin(0).values, self.features(looks), {})

    def trajectory(self, posterior: HaltingPosterior | None = None) -> Trajectory:
        """What stop rules may know; stopping returns the best so far."""
        hazards: Sequence[Tensor | None] = [None] * (len(self.nll) - 1)
        spent = list(hazards)
        if posterior is not None and posterior.looks is not None:
            hazards, spent = zip(*_followed(posterior, self.features(posterior.looks)), strict=True)
        norms = self.signals[1:, 1].sqrt()
        known = [
            Known(step, *(None if value is None else value.double() for value in at))  # type: ignore[arg-type]
            for step, at in enumerate(zip(self.nll[1:], norms, hazards, spent, strict=True), 1)
        ]
        return Trajectory(self.nll.cummin(0).values.double(), known, {})


def _followed(posterior: HaltingPosterior, features: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Hazard of each step, and the mass spent with it."""
    with torch.no_grad():
        halted, hidden = features.new_zeros(features.shape[1]), None
        for row in features:
            logit, hidden = posterior.step(row, hidden)
            hazard = posterior.distribution.hazard(logit, halted)
            halted = halted + (1 - halted) * hazard
            yield hazard, halted


def walked(rule: UpdateRule, problems: Optimizee, steps: int) -> Rows:
    with torch.no_grad():
        walk = begin(rule, problems)
        return Rows(*map(torch.stack, zip(*rows(walk, steps + 1), strict=True)))


class Paths:
    """Paths on the crops of one setting: ``test``, ``stops``, ``tuning``, and of the trained styles ``heads``."""

    def __init__(self, name: str, folder: Path) -> None:
        self.setting, self.folder = SETTINGS[name], folder / "paths" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        experiment = self.setting.experiment()
        family = experiment.build_family()
        self.scale: float = family.scale  # type: ignore[attr-defined]
        self._made: dict[str, Callable[[], Optimizee]] = {
            "test": lambda: held_out_problems(experiment, max(self.setting.test, self.setting.stops)),
            "tuning": lambda: tuning_problems(experiment, 1),
            "heads": lambda: family.sample(HEADS, random_stream("tuning", 1)),
        }
        self._num = {
            "test": self.setting.test,
            "stops": self.setting.stops,
            "tuning": self.setting.tuning,
            "heads": HEADS,
        }
        self._problems: dict[str, Optimizee] = {}

    def of(self, kind: str, name: str, rule: UpdateRule, steps: int = HORIZON) -> Rows:
        """``steps`` steps of ``rule``, kept under ``name``, a few crops a file: more crops later cost only those."""
        begun, parts = time.process_time(), []
        drawn = "test" if kind == "stops" else kind
        size, num = self.setting.options.get("size", 64), self._num[kind]
        for number, some in enumerate(torch.arange(num).split(max(1, SIDE_BY_SIDE // size**2))):
            part = self.folder / f"{drawn}-{name}-{steps}" / f"{number}-{len(some)}.pt"
            if not part.exists():
                part.parent.mkdir(exist_ok=True)
                problems = self._problems.setdefault(drawn, self._made[drawn]())
                save_tensors(part, walked(rule, problems.select(some), steps)._asdict())
                print(f"{part}: {time.process_time() - begun:.0f} s of a core", flush=True)
            parts.append(load_tensors(part, "path"))
        return Rows(*(torch.cat([one[name] for one in parts], -1 if name == "signals" else 1) for name in Rows._fields))
