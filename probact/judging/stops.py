"""What stopping is worth: every stop rule of every optimizer at a price per step, thresholds tuned on other problems.

J = nll at the stop + c * steps, in nats.  With c = -log nu its minimum over the whole path, the hindsight oracle, is
the mode of the exact posterior under the horizon prior ``flat`` (under ``geometric``, up to the cap at H).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from probact.judging.comparison import Entry
from probact.judging.problem_sets import tuning_problems
from probact.judging.results import StopRow, StopSummary
from probact.judging.trajectory import Trajectory, record
from probact.judging.tuning import tuned_rates
from probact.problems.base import Optimizee
from probact.rules.base import RULES
from probact.rules.hand_designed import hand_designed
from probact.runs.experiment import Experiment
from probact.runs.trained import TrainedOptimizer
from probact.stopping.base import STOP_RULES, Known, StopRule

NUM_THRESHOLDS = 256
TARGETS = (1, 5, 10, 20, 50, 100)
HINDSIGHT = ("oracle", "exact MAP")
"""Kinds of verdicts that need the whole path; the second is in evaluations of before there was a flat price alone."""
Choice = tuple[int, float]
"""How tuning compares: problems stopped after they diverged first, then the mean of J over the others."""


class Tuned(NamedTuple):
    """A stop rule with its best threshold on the tuning problems."""

    rule: StopRule
    choice: Choice


class Verdict(NamedTuple):
    """One way to stop one optimizer, at one price.

    :ivar kind: name of the stop rule; else one of ``HINDSIGHT``, or ``horizon``: after all steps.
    :ivar cost: c, nats a step.
    :ivar stop: ``(L,)`` step of each problem.
    :ivar J: ``(L,)`` nll at the stop + c * steps; inf where stopped after it diverged.
    :ivar rule: the stop rule with its threshold, where there is one.
    :ivar choice: how that did on the tuning problems, if it was tuned.
    """

    kind: str
    cost: float
    stop: Tensor
    J: Tensor
    rule: StopRule | None = None
    choice: Choice | None = None

    def describe(self) -> str:
        """For a table."""
        if self.rule is not None:
            return self.rule.describe()
        return f"{self.kind} (hindsight)" if self.kind in HINDSIGHT else f"all {int(self.stop[0])} steps"

    def summary(self) -> StopSummary:
        """Means over the problems that did not diverge."""
        finite = self.J.isfinite()
        J, steps = self.J[finite], self.stop[finite].double()
        J_sd, steps_sd = (float(values.std()) if len(values) > 1 else math.nan for values in (J, steps))
        return StopSummary(
            kind=self.kind,
            rule=self.describe(),
            cost=self.cost,
            J=float(J.mean()),
            J_sem=J_sd / max(len(J), 1) ** 0.5,
            loss=float((J - self.cost * steps).mean()),
            steps=float(steps.mean()),
            steps_sd=steps_sd,
            diverged=int((~finite).sum()),
            spelled="" if self.rule is None else self.rule.spelled(),
        )


def stopped_cost(path: Trajectory, stop: Tensor, cost: float) -> Tensor:
    """J of stopping each problem at ``stop (L,)``, ``(L,)``."""
    return path.nll.gather(0, stop.unsqueeze(0)).squeeze(0) + cost * stop


def oracle(path: Trajectory, cost: float) -> Tensor:
    """argmin_t nll_t + c t over t = 1..K, ``(L,)``: known only afterwards."""
    steps = torch.arange(1, len(path.nll), dtype=path.nll.dtype).unsqueeze(-1)
    return 1 + (path.nll[1:] + cost * steps).argmin(0)


def _choice(J: Tensor) -> Choice:
    finite = J.isfinite()
    return int((~finite).sum()), float(J[finite].mean()) if bool(finite.any()) else math.inf


def tune_stop(kind: type[StopRule], path: Trajectory, cost: float) -> Tuned:
    """The form and threshold of ``kind`` with the smallest mean J on ``path``.

    Thresholds are tried at quantiles of the scores, or left alone where the rule is not tunable.
    """
    best: Tuned | None = None
    for rule in kind.candidates():
        score = scores(rule, path.known)
        if kind.tunable:
            finite = score[score.isfinite()]
            levels = torch.linspace(0, 1, NUM_THRESHOLDS, dtype=score.dtype)
            chosen = finite.sort().values[(levels * (len(finite) - 1)).long()] if len(finite) else finite
            thresholds = chosen.unique().tolist() or [rule.threshold]
        else:
            thresholds = [rule.threshold]
        for threshold in thresholds:
            choice = _choice(stopped_cost(path, first_stop(score, threshold), cost))
            if best is None or choice < best.choice:
                best = Tuned(rule.at(threshold), choice)
    assert best is not None
    return best


def stop_by(rule: StopRule, path: Trajectory, cost: float, choice: Choice | None = None) -> Verdict:
    """Stop every problem of ``path`` by ``rule``."""
    stop = first_stop(scores(rule, path.known), rule.threshold)
    return Verdict(rule.name, cost, stop, stopped_cost(path, stop, cost), rule, choice)


def tuned_stop(one: TrainedOptimizer, experiment: Experiment, kinds: Iterable[type[StopRule]]) -> StopRule:
    """The best of ``kinds`` for ``one`` on the tuning problems of ``experiment``, at its price of a step."""
    path = record(one.worn_rule, tuning_problems(experiment), experiment.horizon, one.online_posterior)
    found = [tune_stop(kind, path, experiment.step_cost) for kind in kinds]
    return min(found, key=lambda tuned: tuned.choice).rule


def stop_rules(followed: bool, sees_gradient: bool = True, expects: bool = False) -> list[type[StopRule]]:
    """Those that there are for an optimizer.

    :param followed: whether a halting posterior can be followed; :param sees_gradient: whether the rule does;
    :param expects: whether it says what it expects of a step.
    """
    kinds = [STOP_RULES[name] for name in STOP_RULES if expects >= STOP_RULES[name].needs_expectation]
    return [kind for kind in kinds if followed >= kind.needs_posterior and sees_gradient >= kind.needs_gradient]


def own_kinds(followed: bool, sees_gradient: bool = True, expects: bool = False) -> list[type[StopRule]]:
    """Of which an optimizer's own stop rule is one: the tunable that follow its head, or all where none is followed."""
    kinds = stop_rules(followed, sees_gradient, expects)
    return [kind for kind in kinds if kind.needs_posterior and kind.tunable] or kinds


def own_verdict(found: Sequence[Verdict]) -> Verdict:
    """Of ``verdicts`` that of the optimizer's own stop rule: the one of ``own_kinds`` that did best in tuning."""
    tuned = {verdict.kind: verdict for verdict in found if verdict.choice is not None}
    followed = any(verdict.rule.needs_posterior for verdict in tuned.values() if verdict.rule is not None)
    own = (tuned[kind.name] for kind in own_kinds(followed, expects=True) if kind.name in tuned)
    return min(own, key=lambda verdict: verdict.choice or (0, math.inf))


def verdicts(test: Trajectory, tuning: Trajectory, cost: float) -> list[Verdict]:
    """Every stop rule tuned on ``tuning`` and judged on ``test``, then the references known only in hindsight."""
    sees_gradient = any(bool(known.grad_norm.any()) for known in test.known)
    kinds = stop_rules(test.known[0].hazard is not None, sees_gradient, test.known[0].expected is not None)
    found = [stop_by(rule, test, cost, choice) for rule, choice in (tune_stop(kind, tuning, cost) for kind in kinds)]
    last = torch.full_like(found[0].stop, len(test.nll) - 1)
    for kind, stop in (("oracle", oracle(test, cost)), ("horizon", last)):
        found.append(Verdict(kind, cost, stop, stopped_cost(test, stop, cost)))
    return found


def shares(found: Sequence[Verdict]) -> list[float]:
    """Of the difference between the best fixed budget and the oracle, the share that each verdict closes."""
    by_kind = {verdict.kind: verdict.J for verdict in found}
    finite = torch.stack([verdict.J.isfinite() for verdict in found]).all(0)
    budget, best = by_kind["budget"][finite].mean(), by_kind["oracle"][finite].mean()
    return [float((budget - verdict.J[finite].mean()) / (budget - best)) for verdict in found]


def stopped_baselines(
    entry: Entry, experiment: Experiment, tuning: Optimizee, test: Optimizee, cost: float
) -> list[StopRow]:
    """A baseline under every stop rule that needs no posterior, with the threshold and rate that are best together.

    Rates are those that are best at one of ``TARGETS`` up to H, and the next three below them (a rate that is best at a
    step may blow up a few problems later); all choices are made on ``tuning``.
    """
    horizon = experiment.horizon
    if RULES[entry.name].is_baseline:
        return _stopped_ready(entry, horizon, tuning, test, cost)
    targets = [step for step in TARGETS if step <= horizon] or [horizon]
    best: dict[str, tuple[Choice, float, StopRule]] = {}
    tuned = set(tuned_rates(entry.name, experiment, targets, entry.options).values())
    below = [lr for lr in hand_designed()[entry.name].learning_rates if lr < min(tuned)][-3:]
    for lr in sorted({*tuned, *below}):
        path = record(entry.built(lr=lr), tuning, horizon)
        for kind in stop_rules(followed=False):
            rule, choice = tune_stop(kind, path, cost)
            if kind.name not in best or choice < best[kind.name][0]:
                best[kind.name] = choice, lr, rule
    rates = {lr for _, lr, _ in best.values()}
    paths = {lr: record(entry.built(lr=lr), test, horizon) for lr in rates}
    found = [(lr, stop_by(rule, paths[lr], cost)) for _, lr, rule in best.values()]
    return [
        StopRow(optimizer=entry.label, trained=False, seed=None, learning_rate=lr, **vars(verdict.summary()))
        for lr, verdict in found
    ]


def _stopped_ready(entry: Entry, horizon: int, tuning: Optimizee, test: Optimizee, cost: float) -> list[StopRow]:
    """``stopped_baselines`` of a rule without a rate."""
    on_test, on_tuning = (record(entry.built(), problems, horizon) for problems in (test, tuning))
    return [
        StopRow(optimizer=entry.label, trained=False, seed=None, **vars(one.summary()))
        for one in verdicts(on_test, on_tuning, cost)
        if one.rule is not None
    ]


def scores(rule: StopRule, path: Sequence[Known]) -> Tensor:
    """Scores of every step of a recorded path, ``(K, L)``."""
    memory = rule.init(path[0].loss)
    rows = []
    for known in path:
        score, memory = rule.checked_score(known, memory)
        rows.append(score)
    return torch.stack(rows)


def first_stop(score: Tensor, threshold: float) -> Tensor:
    """First step at which ``score (K, L)`` reaches ``threshold``, ``(L,)`` int64 in 1..K; K where it never does."""
    reached = score >= threshold
    reached[-1] = True
    return 1 + reached.int().argmax(0)
