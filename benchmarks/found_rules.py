"""Neural Optimizer Search beside random search and evolution; what the rules that were found are worth.

    python benchmarks/found_rules.py search     # 3 controllers x 3 seeds        -> results/found-rules-search.json
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
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from probact.rule_search.ranking import rank
from probact.rule_search.search import Search, search_in
from probact.rule_search.settings import Settings
from probact.support.files import finite_numbers, write_atomically

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"
RUNS = Path("runs") / "found-rules"
CONTROLLERS = ("random", "lstm", "evolution")


def write(name: str, content: Any) -> None:
    write_atomically(RESULTS / f"found-rules-{name}.json", json.dumps(finite_numbers(content), indent=1) + "\n")


def searched(controller: str, seed: int, rules: int) -> Search:
    """Run to the end, or read."""
    folder = RUNS / f"{controller}-{seed}"
    settings = Settings(controller=controller, rules=rules, seed=seed)
    is_begun = (folder / "settings.json").exists()
    search = Search.at(Settings.read(folder).going_on({"rules": rules}), folder) if is_begun else Search(settings)
    search.settings.write(folder)
    for now in search_in(folder, search):
        if len(now.records) % 100 == 0:
            print(f"{folder}: {len(now.records)}/{rules}, best {now.best.reward:.4f}: {now.best.rule}", flush=True)
    return search


def search(rules: int, seeds: Iterable[int]) -> None:
    found: list[dict[str, Any]] = []
    for seed in seeds:
        for controller in CONTROLLERS:
            done = searched(controller, seed, rules)
            ranked = rank(done.settings, done.records)
            adam = done.child.try_out([ranked_tree("adam")])[0]
            fifth = done.records[-max(rules // 5, 1) :]
            found.append(
                {
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
            )
            write("search", {"searches": found})


def ranked_tree(rule: str) -> Any:
    from probact.rules.expressions.parser import canonical, parse

    return canonical(parse(rule))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["search"])
    parser.add_argument("--rules", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "search":
        search(given.rules, range(given.seeds))


if __name__ == "__main__":
    main()
