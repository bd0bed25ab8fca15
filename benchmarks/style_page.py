"""Tables of docs/style.md, between its marks, and its figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pages import RESULTS, fill, number, read, table, with_error
from style_judged import AT, PRICES, trained_of, tuned_stop
from style_paths import HORIZON, SETTINGS
from style_rules import BEST, LAST
from torch import Tensor

from probact.judging.problem_sets import held_out_problems
from probact.problems.style.family import Style
from probact.problems.style.loss import StyleTransfer
from probact.rules.base import RULES, UpdateRule
from probact.stopping.base import StopRule
from probact.stopping.online import run_until_stopped
from probact.stopping.rules import Budget
from probact.support.randomness import random_stream

ROOT = Path(__file__).resolve().parents[1]
PAGE, FIGURE = ROOT / "docs" / "style.md", ROOT / "docs" / "images" / "style.png"
CROPS = {"trained": (1, 6, 8), "grass": (1, 3)}
"""Those of the figure, whose steps differ."""
REFERENCES = ("budget", "patience", "horizon")
TITLES = {
    "trained": "Styles of training, 64 x 64",
    "validated": "The same trainings at the weights that validated best",
    "earlier": "The same, two earlier trainings of 80 and 30 meta-steps",
    "grass": "A style never trained on, grass, 64 x 64",
    "grass-128": "Grass, 128 x 128",
}


def write_tables() -> None:
    there = [name for name in TITLES if (RESULTS / f"style-{name}.json").exists()]
    found = {name: read(f"style-{name}") for name in there}
    trained = found["trained"]
    made = {"losses": losses(found), "stops": stops(trained), "prices": prices(trained), "training": training(trained)}
    fill(PAGE, {**made, "validated": prices(found["validated"])})


def losses(found: Mapping[str, Any]) -> str:
    parts = []
    for name, result in found.items():
        rows = []
        for optimizer, at in result["losses"].items():
            rates = result["rates"].get(optimizer, {})
            cells = [
                with_error(at[str(step)]["mean"], at[str(step)]["sem"])
                + (f" ({rates[str(step)]:g})" if str(step) in rates else "")
                for step in AT
            ]
            rows.append([optimizer, *cells])
        learned = [result["losses"]["learned"][str(step)] for step in AT]
        against = [with_error(one["difference"]["mean"], one["difference"]["sem"]) for one in learned]
        rows.append(["learned - best tuned", *against])
        rows.append(["best tuned", *(one["best"] for one in learned)])
        rows.append(["learned is better on", *(f"{one['wins']:.0%}" for one in learned)])
        if len(result["seeds"]) > 1 and all("difference_by_seed" in one for one in learned):
            rows.insert(-2, ["of each seed", *(_each(one["difference_by_seed"]) for one in learned)])
        reached = ", ".join("not reached" if step is None else str(step) for step in result["reached"])
        head = ["mean loss after", *map(str, AT)]
        parts.append(
            f"**{TITLES[name]}**, {result['crops']} test crops, training seeds {_joined(result['seeds'])}:\n\n"
            f"{table(head, rows)}\n\n"
            f"Steps until the mean loss is that of Adam after {HORIZON}, by training seed: {reached}."
        )
    return "\n\n".join(parts)


def stops(result: Mapping[str, Any]) -> str:
    """At the first price."""
    rows = [
        [
            one["optimizer"],
            one["rule"] if one["kind"] in ("horizon", "oracle") else f"{one['kind']}: {one['rule']}",
            with_error(one["J"]["mean"], one["J"]["sem"]),
            f"{one['steps']:.1f} ± {one['steps_sd']:.1f}",
            f"{one['share']:.2f}",
            number(one["rank"], 2),
            *(_difference(one["against"].get(kind)) for kind in REFERENCES),
        ]
        for one in result["stops"]
        if one["price"] == PRICES[0]
    ]
    head = ["optimizer", "stop", "J", "steps", "share", "rank", "J - budget", "J - patience", "J - all"]
    return table(head, rows)


def _difference(moments: Mapping[str, float] | None) -> str:
    return "-" if moments is None else with_error(moments["mean"], moments["sem"])


def prices(result: Mapping[str, Any]) -> str:
    """The learned stop and patience of each seed at each price."""
    found = {(one["optimizer"], one["price"], one["kind"]): one for one in result["stops"]}
    rows = []
    for optimizer, price, kind in found:
        if kind != "learned stop":
            continue
        own, patience, oracle = (found[optimizer, price, other] for other in (kind, "patience", "oracle"))
        rows.append([
            f"{price:g}", optimizer.removeprefix("learned, "),
            f"{own['steps']:.1f} ± {own['steps_sd']:.1f}", f"{oracle['steps']:.1f} ± {oracle['steps_sd']:.1f}",
            number(own["rank"], 2), f"{own['share']:.2f}", f"{patience['share']:.2f}",
            *(with_error(*own["against"][other].values()) for other in ("budget", "patience")),
            with_error(*_negative(oracle["against"]["patience"])),
        ])  # fmt: skip
    rows.sort(key=lambda row: float(row[0]))
    head = ["price", "seed", "steps", "best steps", "rank", "share", "share of patience", "J - budget", "J - patience"]
    return table([*head, "patience - best"], rows)


def _negative(moments: Mapping[str, float]) -> tuple[float, float]:
    return -moments["mean"], moments["sem"]


def training(result: Mapping[str, Any]) -> str:
    rows = []
    for seed, kinds in result["meta_steps"].items():
        rule, head = kinds["rule"], kinds.get("head")
        of_head = f"{head['meta_steps']} on {head['crops']} paths in {head['seconds'] / 60:.1f} min" if head else "none"
        choice = kinds["choice"]
        ends = (number(choice["losses"][name], 4) for name in (BEST, LAST))
        of_rule = f"{rule['meta_steps']} in {rule['seconds'] / 60:.0f} min"
        rows.append([seed, of_rule, *ends, choice["weights"], of_head])
    head = ["seed", "meta-steps of the rule", "loss of the best", "of the last", "judged", "of the halting posterior"]
    return table(head, rows)


def _each(found: list[Mapping[str, float]]) -> str:
    return ", ".join(number(one["mean"], 2) for one in found)


def _joined(values: list[int]) -> str:
    return ", ".join(map(str, values))


def draw(folder: Path, seed: int) -> None:
    """Content, style, Adam and the learned optimizer after 20 steps, its stop, Adam after all steps."""
    from matplotlib.figure import Figure

    from probact.reports.style import save_figure, styled

    one = trained_of(folder, seed)
    stop = tuned_stop(folder, seed, one)
    rows = []
    for name, crops in CROPS.items():
        experiment = SETTINGS[name].experiment()
        problem = held_out_problems(experiment).select(torch.tensor(crops))
        adam = {
            step: RULES.build("adam", {"lr": read(f"style-{name}")["rates"]["adam"][str(step)]}) for step in (20, 128)
        }
        learned = run_until_stopped(one.worn_rule, problem, HORIZON, stop, one.online_posterior)
        columns = [
            problem.theta0["pixels"],
            _styles(experiment.build_family().for_tests, experiment.test_problems)[list(crops)],
            _after(adam[20], problem, 20),
            _after(one.worn_rule, problem, 20),
            learned.params["pixels"],
            _after(adam[128], problem, 128),
        ]
        rows += [(images, int(step)) for *images, step in zip(*columns, learned.step, strict=True)]
    titles = ["content", "style", "Adam, 20 steps", "learned, 20 steps", "learned stop", "Adam, 128 steps"]
    with styled():
        figure = Figure(figsize=(8, 1.45 * len(rows)), dpi=85, layout="constrained")
        axes = figure.subplots(len(rows), len(titles), squeeze=False)
        for place, (line, (images, step)) in enumerate(zip(axes, rows, strict=True)):
            for axis, image, title in zip(line, images, titles, strict=True):
                axis.imshow(image.clamp(0, 1).permute(1, 2, 0).numpy(), interpolation="nearest")
                axis.set_axis_off()
                said = f"{title}: {step} steps" if title == "learned stop" else title * (place == 0)
                axis.set_title(said, fontsize=8, loc="center")
        save_figure(figure, FIGURE)
    print(f"{FIGURE}: {FIGURE.stat().st_size / 1000:.0f} kB")


def _after(rule: UpdateRule, problem: StyleTransfer, steps: int) -> Tensor:
    stop: StopRule = Budget(float(steps))
    return run_until_stopped(rule, problem, steps, stop).params["pixels"]


def _styles(family: Style, num: int) -> Tensor:
    """The style crops of the same problems."""
    seeds = family.seeds(num, random_stream("test", 0))
    return torch.stack([family.pair(seed)[1] for seed in seeds])
