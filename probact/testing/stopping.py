"""Whether a class is a stop rule."""

from __future__ import annotations

import json
from typing import Any

import torch

from probact.judging.stops import scores
from probact.stopping.base import STOP_RULES, Known, StopRule
from probact.support.trees import map_state
from probact.testing.properties import close, equal, holds, label, precision
from probact.testing.small import HORIZON, NUM


def check_stop_rule(kind: type[StopRule], **options: Any) -> None:
    """Its score: of each problem, causal, without NaN, the same for problems that others have left.

    :param options: keyword options of the rule.
    :raises AssertionError: at the first property that does not hold.
    """
    part = label(STOP_RULES, kind)
    for dtype in (torch.float32, torch.float64):
        with precision(dtype):
            _check_scores(part, kind(**options), _path())
    rule = kind(**options)
    with holds(part, "at(threshold) changes the threshold alone"):
        equal(vars(rule.at(1.25)), {**vars(rule), "threshold": 1.25})
    with holds(part, "from_json reads what to_json gave"):
        again = StopRule.from_json(json.loads(json.dumps(rule.at(1.25).to_json())))
        equal((type(again), vars(again)), (kind, vars(rule.at(1.25))))
    with holds(part, "the default threshold is that of the class"):
        equal(kind().threshold, kind.default)
    with holds(part, "candidates are of its own class"):
        equal({type(one) for one in kind.candidates()}, {kind})
    with holds(part, "describes itself in one line"):
        equal(len(rule.describe().splitlines()), 1)


def _path() -> list[Known]:
    """What might be known on the way; the last problem is lost after three steps."""
    loss, grad_norm = torch.randn(HORIZON, NUM).cumsum(0), torch.rand(HORIZON, NUM)
    loss[3:, -1] = torch.inf
    hazard = torch.rand(HORIZON, NUM)
    halted = 1 - (1 - hazard).cumprod(0)
    expected = torch.rand(HORIZON, NUM)
    return [Known(s + 1, loss[s], grad_norm[s], hazard[s], halted[s], expected[s]) for s in range(HORIZON)]


def _check_scores(part: str, rule: StopRule, path: list[Known]) -> None:
    whole = scores(rule, path)
    with holds(part, "a score a step and problem, never NaN"):
        equal((tuple(whole.shape), bool(whole.isnan().any())), ((HORIZON, NUM), False))
    with holds(part, "score of step s reads steps 1..s only"):
        close(scores(rule, path[:4]), whole[:4], rtol=0, atol=0)
    with holds(part, "score of problem l reads row l only"):
        alone = [known.map(lambda tensor: tensor[:3]) for known in path]
        close(scores(rule, alone), whole[:, :3], rtol=0, atol=0)
    index = torch.tensor([3, 1])
    _, memory = rule.score(path[0], rule.init(path[0].loss))
    with holds(part, "every tensor of the memory has a row a problem"):
        some = map_state(lambda tensor: tensor[index], memory)
        close(rule.score(path[1].map(lambda tensor: tensor[index]), some)[0], whole[1][index], rtol=0, atol=0)
    if not rule.needs_posterior:
        with holds(part, "needs no posterior"):
            close(scores(rule, [known._replace(hazard=None, halted=None) for known in path]), whole, rtol=0, atol=0)
