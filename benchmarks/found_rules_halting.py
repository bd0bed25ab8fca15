"""Halting at both levels of a search for rules: its child, rule by rule, and the search itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from probact.monitoring.monitor import HaltingMonitor
from probact.rule_search.child import LOOKS, Child, Tried
from probact.rule_search.halting import HALTINGS, HEAD, Halting, Learned
from probact.rule_search.programs import draw, tree_of
from probact.rule_search.settings import Record
from probact.rules.expressions.grammar import Node
from probact.rules.expressions.parser import canonical, parse
from probact.support.randomness import random_stream
from probact.training.on_curves import Examples, train_head

RECORDED, OWN_SEED, BATCH = 240, 1000, 20
"""Random rules whose curves are recorded, and the seed of them and of their networks: no search uses it."""
BEST = 0.1
"""A rule counts as worth training where it ends among so large a share of the recorded rules."""
KEEPS = 0.9
"""Of the rules that are worth training the learned stop is to keep so many: its price is the largest that does."""
COMPARED = 100
"""Rules of each random search that are tried again with every halting."""
PRICES = (1e-5, 3e-5, 1e-4)
"""Of a rule, in units of accuracy: .01 for a thousand rules, for three hundred, for a hundred."""
SEARCH, LOOK = 300, 10
"""Rules of a recorded search, and of one look at it."""
COST = np.array([56.0] * 6 + [48.0])
"""Steps of networks up to each look and from the last one to the end."""


def recorded(path: Path) -> dict[str, np.ndarray]:
    """Curves of random rules, each to the end: training losses at the looks, validation losses there and at the end."""
    if not path.exists():
        generator = random_stream("draws", OWN_SEED)
        trees = [canonical(tree_of(draw(2, generator))) for _ in range(RECORDED)]
        tried: list[Tried] = []
        for start in range(0, RECORDED, BATCH):
            child = Child(seed=OWN_SEED + start // 80)
            tried += child.try_out(trees[start : start + BATCH], watch=True)
            print(f"recorded {len(tried)}/{RECORDED}", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, curve=[one.curve for one in tried], validation=[one.validation for one in tried])
    return dict(np.load(path))


def examples_of(found: dict[str, np.ndarray]) -> tuple[Examples, float]:
    """A look brings what it lowers the validation loss below ``bar``, that of the best tenth."""
    bar = float(np.quantile(found["validation"][:, -1], BEST))
    returned = np.minimum(found["validation"], bar)
    seen = np.minimum.accumulate(np.concatenate([found["curve"], found["validation"][:, -1:]], 1), 1)
    return Examples.of(seen, returned, np.zeros(len(seen))), bar


def stopped(halting: Halting, curves: np.ndarray) -> np.ndarray:
    """The look at which each of recorded ``curves (N, looks)`` is stopped, ``(N,)``; 0 where it goes to the end."""
    at = np.zeros(len(curves), dtype=int)
    for start in range(0, len(curves), BATCH):
        some = curves[start : start + BATCH]
        halting.begin(len(some))
        left = np.arange(len(some))
        for look in range(1, some.shape[1] + 1):
            if len(left):
                stops = halting.stops(look, left.tolist(), some[left, look - 1])
                at[start + left[stops]] = look
                left = left[~stops]
        ends = [Tried(0, 0, 0, 0, int(where), tuple(row)) for where, row in zip(at[start:], some, strict=False)]
        halting.end(ends)
    return at


def share_of_steps(at: np.ndarray) -> float:
    """Steps of networks that were made, as a share of all."""
    spent = np.cumsum(COST)
    return float(np.where(at == 0, spent[-1], spent[at - 1]).mean() / spent[-1])


def head(path: Path) -> dict[str, Any]:
    """Train it on two thirds of the curves; the largest price that keeps what is worth training on the rest."""
    found = recorded(path)
    first = np.arange(RECORDED) % 3 != 0
    examples, bar = examples_of({name: table[first] for name, table in found.items()})
    for _, loss, trained in train_head(examples, 0, updates=800):  # noqa: B007
        pass
    trained.save(HEAD, {"sets": "random rules on digits", "updates": "800"})
    rest = {name: table[~first] for name, table in found.items()}
    worth = rest["validation"][:, -1] <= bar
    tried = []
    for price in np.logspace(-4, -1, 13) * bar:
        at = stopped(Learned(float(price)), rest["curve"])
        tried.append({"price": float(price), "kept": float((at[worth] == 0).mean()), "steps": share_of_steps(at)})
        print(tried[-1], flush=True)
    good = [one for one in tried if one["kept"] >= KEEPS] or tried[:1]
    return {"bar": bar, "loss": loss, "worth": int(worth.sum()), "tried": tried, "price": good[-1]["price"]}


def trees_of(records: Sequence[Record]) -> list[Node]:
    return [canonical(parse(record.rule)) for record in records]


def rates(searches: Sequence[Sequence[Record]]) -> dict[str, Any]:
    """The first rules of random searches again, with each halting: seconds of the processor, and the best found."""
    rows = []
    for seed, records in enumerate(searches):
        trees = trees_of(records[:COMPARED])
        child = Child(seed=seed)
        whole: list[Tried] = []
        for name in ("none", "median", "halving", "learned"):
            halting, tried, begun = HALTINGS[name](), list[Tried](), time.process_time()
            for start in range(0, len(trees), 10):
                tried += child.try_out(trees[start : start + 10], halting)
            seconds = time.process_time() - begun
            whole = whole or tried
            left = [place for place, one in enumerate(tried) if not one.stopped_at]
            best = max(left or range(len(tried)), key=lambda place: (tried[place].reward, -tried[place].loss))
            top = sorted(range(len(whole)), key=lambda place: -whole[place].reward)[:8]
            rows.append(
                {
                    "seed": seed,
                    "halting": name,
                    "seconds": seconds,
                    "rules_a_minute": 60 * len(trees) / seconds,
                    "stopped": sum(one.stopped_at > 0 for one in tried) / len(tried),
                    "kept_of_the_top_8": sum(tried[place].stopped_at == 0 for place in top) / 8,
                    "best_loss": whole[best].loss,
                    "best_reward": whole[best].reward,
                }
            )
            print(rows[-1], flush=True)
    return {"rules": COMPARED, "rows": rows}


def drawn_searches(rewards: np.ndarray, num: int, seed: int) -> np.ndarray:
    """``num`` searches of ``SEARCH`` rules in another order, the best of each look, ``(num, looks)``.

    The rules of a random search are exchangeable, so that any order could have been.
    """
    generator = np.random.default_rng(seed)
    some = np.stack([generator.permutation(rewards)[:SEARCH] for _ in range(num)])
    return some.reshape(num, -1, LOOK).max(-1)


def costs(best: np.ndarray, stop: np.ndarray, price: float) -> np.ndarray:
    """What the whole search found less what had been found at the stop, and the price of the rules until then."""
    so_far = np.maximum.accumulate(best, 1)
    return so_far[:, -1] - np.take_along_axis(so_far, stop[:, None] - 1, 1)[:, 0] + price * LOOK * stop


def by_patience(best: np.ndarray, patience: int) -> np.ndarray:
    so_far = np.maximum.accumulate(best, 1)
    looks = np.arange(1, best.shape[1] + 1)
    newest = np.maximum.accumulate(np.where(np.diff(so_far, axis=1, prepend=-1) > 0, looks, 0), 1)
    waits = looks - newest >= patience
    waits[:, -1] = True
    return 1 + waits.argmax(1)


def by_monitor(best: np.ndarray, price: float) -> np.ndarray:
    monitor = HaltingMonitor(price * LOOK, num=len(best), mode="max")
    for row in np.maximum.accumulate(best, 1).T:
        monitor.update(row)
        if monitor.should_stop().all():
            break
    at = np.asarray(monitor.stopped_at)
    return np.where(at == 0, best.shape[1], at)


def stop(searches: Sequence[Sequence[Record]]) -> dict[str, Any]:
    """All ways to stop at each price: tuned on two recorded searches, judged on twenty orders of the third."""
    found = [np.array([record.reward for record in records]) for records in searches]
    tuning = np.concatenate([drawn_searches(rewards, 250, seed) for seed, rewards in enumerate(found[:-1])])
    test = drawn_searches(found[-1], 20, 99)
    rows = []
    looks = range(1, tuning.shape[1] + 1)
    for price in PRICES:
        ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "a HaltingMonitor, as shipped": lambda best, price=price: by_monitor(best, price),
        }
        budget = min(looks, key=lambda look: costs(tuning, np.full(len(tuning), look), price).mean())
        waits = min(looks, key=lambda look: costs(tuning, by_patience(tuning, look), price).mean())
        ways[f"budget of {budget * LOOK} rules"] = lambda best, at=budget: np.full(len(best), at)
        ways[f"patience of {waits * LOOK} rules"] = lambda best, at=waits: by_patience(best, at)
        every = np.stack([costs(test, np.full(len(test), look), price) for look in looks])
        ways["hindsight"] = lambda best, every=every: 1 + every.argmin(0)
        J = {name: costs(test, way(test), price) for name, way in ways.items()}
        base, floor = J[f"budget of {budget * LOOK} rules"].mean(), J["hindsight"].mean()
        for name, way in ways.items():
            rows.append(
                {
                    "price": price,
                    "stop": name,
                    "J": float(J[name].mean()),
                    "J_sem": float(J[name].std(ddof=1) / len(test) ** 0.5),
                    "rules": float(LOOK * way(test).mean()),
                    "share": float((base - J[name].mean()) / (base - floor)),
                }
            )
            print(rows[-1], flush=True)
    return {"searches": len(test), "rules": SEARCH, "rows": rows}


assert len(COST) == len(LOOKS) + 1
torch.set_num_threads(1)
