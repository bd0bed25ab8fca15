"""Neural Optimizer Search beside random search and evolution; what the rules that were found are worth.

    python benchmarks/found_rules.py search     # 3 controllers x 3 seeds        -> results/found-rules-search.json
    python benchmarks/found_rules.py search --rules 5000 --of lstm-0 evolution-0     # longer ones, in this order
    python benchmarks/found_rules.py judge      # the best beside known rules    -> results/found-rules-judged.json
    python benchmarks/found_rules.py head       # trains the head of --halting learned on recorded curves
    python benchmarks/found_rules.py rates      # rules a minute with halting    -> results/found-rules-rates.json
    python benchmarks/found_rules.py stop       # when a search stops itself     -> results/found-rules-stop.json
    python benchmarks/found_rules.py figure     # docs/images/found_rules.png, from the results
    python benchmarks/found_rules.py table      # the tables of docs/optimizer-search.md, from the results

Searches lie in runs/found-rules/ and go on where they were cut off; --rules and --seeds say how many.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import found_rules_halting as halting
import found_rules_tables as tables
import numpy as np
import torch

from probact.problems.base import Score
from probact.problems.network import Network
from probact.rule_search.child import problems_of
from probact.rule_search.lot import Lot
from probact.rule_search.ranking import rank
from probact.rule_search.search import Search, search_in
from probact.rule_search.settings import Record, Settings
from probact.rules.base import RULES
from probact.rules.expressions.parser import canonical, parse
from probact.support.files import finite_numbers, write_atomically
from probact.unrolling.begin import begin

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"
RUNS = Path("runs") / "found-rules"
CONTROLLERS = ("random", "lstm", "evolution")


def write(name: str, content: Any) -> None:
    write_atomically(RESULTS / f"found-rules-{name}.json", json.dumps(finite_numbers(content), indent=1) + "\n")


def searched(controller: str, seed: int, rules: int) -> Search:
    """Run to the end, or read; a longer search begins as a shorter one does."""
    folder = RUNS / f"{controller}-{seed}"
    settings = Settings(controller=controller, rules=rules, seed=seed)
    known = Record.read(folder / "rules.jsonl")
    if len(known) >= rules:
        return Search(settings, known[:rules])
    is_begun = (folder / "settings.json").exists()
    search = Search.at(Settings.read(folder).going_on({"rules": rules}), folder) if is_begun else Search(settings)
    search.settings.write(folder)
    for now in search_in(folder, search):
        if len(now.records) % 100 == 0:
            print(f"{folder}: {len(now.records)}/{rules}, best {now.best.reward:.4f}: {now.best.rule}", flush=True)
    return search


def search(rules: int, which: Iterable[tuple[str, int]]) -> None:
    """Each to the end, one after another; what it found is added to the results, in place of what is there of it."""
    path = RESULTS / "found-rules-search.json"
    for controller, seed in which:
        row = found_by(controller, seed, rules)
        there = json.loads(path.read_text())["searches"] if path.exists() else []
        rows = [one for one in there if (one["controller"], one["seed"], one["rules"]) != (controller, seed, rules)]
        lines = ",\n".join(json.dumps(finite_numbers(one)) for one in [*rows, row])
        write_atomically(path, f'{{"searches": [\n{lines}\n]}}\n')


def found_by(controller: str, seed: int, rules: int) -> dict[str, Any]:
    """What a search of so many rules found."""
    done = searched(controller, seed, rules)
    ranked = rank(done.settings, done.records)
    adam = done.child.try_out([ranked_tree("adam")])[0]
    fifth = done.records[-max(rules // 5, 1) :]
    return {
        "controller": controller,
        "seed": seed,
        "rules": len(done.records),
        "seconds": sum(record.seconds for record in done.records),
        "adam": adam.reward,
        "rewards": [round(record.reward, 5) for record in done.records],
        "mean_reward_of_the_last_fifth": float(np.mean([record.reward for record in fifth])),
        "distinct_in_the_last_fifth": len({record.rule for record in fifth}) / len(fifth),
        "above_adam_in_the_last_fifth": float(np.mean([record.reward > adam.reward for record in fifth])),
        "ranked": [one._asdict() for one in ranked],
    }


def ranked_tree(rule: str) -> Any:
    return canonical(parse(rule))


KNOWN = {
    "sgd": "g", "momentum": "momentum", "nag": None, "rmsprop": "rmsprop", "adam": "adam", "adamw": None,
    "powersign": "g * exp(sign(g) * sign(m))", "addsign": "(1 + sign(g) * sign(m)) * g",
}  # fmt: skip
"""Hand-designed rules that are judged beside those found; two are no formulas."""
COARSE = tuple(10.0**power for power in range(-6, 3))
FINE = tuple(10 ** (place / 5) for place in (-4, -3, -2, -1, 1, 2, 3, 4))
"""Rates: nine, then eight about the best of them."""
TUNED_ON, JUDGED_ON = 8, 16
PROBLEMS: dict[str, tuple[str, dict[str, Any], int]] = {
    "digits": ("digits", {}, 80),
    "digits 40-40 ReLU": ("digits", {"hidden": "40,40", "activation": "relu"}, 80),
}


def losses(name: str, expr: str | None, rates: Sequence[float], problems: Network, steps: int) -> Score:
    """After ``steps``, of each rate on each network ``(n, N)``."""
    if expr is not None:
        lot = Lot(problems, [ranked_tree(expr)], torch.tensor([rates]), steps, seed=0)
        for _ in range(steps):
            lot.step()
        return Score(*(values[0] for values in lot.scores()))
    found = []
    for lr in rates:
        walk = begin(RULES.build(name, {"lr": lr}), problems)
        for _ in range(steps):
            walk.move()
        found.append(problems.test_score(walk.params))
    return Score(*(torch.stack(values) for values in zip(*found, strict=True)))


def judged(name: str, expr: str | None, problem: str) -> dict[str, Any]:
    """At the rate that is best on validation rows, on new networks and test rows."""
    family, options, steps = PROBLEMS[problem]
    tuning = problems_of(family, TUNED_ON, 777, **options)
    means: dict[float, float] = {}
    for factors, middle in ((COARSE, 1.0), (FINE, None)):
        rates = [factor * (middle or min(means, key=means.__getitem__)) for factor in factors]
        score = losses(name, expr, rates, tuning, steps)
        means |= dict(zip(rates, score.loss.nan_to_num(nan=1e9).mean(-1).tolist(), strict=True))
    rate = min(means, key=means.__getitem__)
    score = losses(name, expr, [rate], problems_of(family, JUDGED_ON, 888, test=True, **options), steps)
    loss, accuracy = score.loss[0], score.accuracy[0]
    return {
        "rate": rate,
        "loss": float(loss.mean()),
        "sem": float(loss.std() / len(loss) ** 0.5),
        "accuracy": float(accuracy.mean()),
    }


def judge(best_of: int) -> None:
    """The known rules, and the ``best_of`` best of each search on fresh networks; what is in the file is not redone."""
    found = json.loads((RESULTS / "found-rules-search.json").read_text())["searches"]
    rules: dict[tuple[str, str | None], list[str]] = {(name, expr): [] for name, expr in KNOWN.items()}
    for one in found:
        best = [row["rule"] for row in one["ranked"] if not row["is_reference"]][:best_of]
        for place, rule in enumerate(best, 1):
            rules.setdefault((rule, rule), []).append(f"{one['controller']}-{one['seed']}-{one['rules']}-{place}")
    path, rows = RESULTS / "found-rules-judged.json", []
    there = json.loads(path.read_text())["rows"] if path.exists() else []
    done = {(row["problem"], row["rule"]): row for row in there}
    with torch.no_grad():
        for problem in PROBLEMS:
            for (name, expr), sources in rules.items():
                row = done.get((problem, name)) or {"problem": problem, "rule": name, **judged(name, expr, problem)}
                rows.append({**row, "found_by": sources})
                print(rows[-1], flush=True)
                left = [row for key, row in done.items() if key not in {(one["problem"], one["rule"]) for one in rows}]
                write("judged", {"tuned_on": TUNED_ON, "judged_on": JUDGED_ON, "rows": [*rows, *left]})
    write("judged", {"tuned_on": TUNED_ON, "judged_on": JUDGED_ON, "rows": rows})


def random_searches() -> list[list[Record]]:
    return [Record.read(RUNS / f"random-{seed}" / "rules.jsonl") for seed in range(3)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["search", "judge", "head", "rates", "stop", "figure", "table"])
    parser.add_argument("--rules", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--best-of", type=int, default=2)
    all_of_them = [f"{controller}-{seed}" for seed in range(9) for controller in CONTROLLERS]
    parser.add_argument("--of", nargs="*", choices=all_of_them, help="searches; without it all of --seeds")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "search":
        which = given.of or all_of_them[: given.seeds * len(CONTROLLERS)]
        search(given.rules, [(name.rsplit("-", 1)[0], int(name.rsplit("-", 1)[1])) for name in which])
    elif given.what == "judge":
        judge(given.best_of)
    elif given.what == "head":
        write("head", halting.head(RUNS / "curves.npz"))
    elif given.what == "rates":
        write("rates", halting.rates(random_searches()))
    elif given.what == "stop":
        write("stop", halting.stop(random_searches()))
    elif given.what == "figure":
        tables.figure()
    else:
        tables.fill()


if __name__ == "__main__":
    main()
