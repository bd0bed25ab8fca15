"""What a trained run is reported as: its posterior file, figures and summary."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from probact.judging.problem_sets import held_out_problems, reported_steps
from probact.judging.trajectory import loss_curve, losses_at
from probact.judging.tuning import tuned_rates
from probact.reports import halting_statistics, posterior_file, posterior_tree
from probact.reports.halting_statistics import HaltingStatistics
from probact.rules.base import RULES
from probact.runs.assembly import family_judged
from probact.runs.run import Run
from probact.support.environment import environment
from probact.support.extras import is_installed
from probact.support.files import write_atomically
from probact.support.sight import Sight
from probact.support.words import counted


@dataclass(frozen=True, kw_only=True)
class Summary(HaltingStatistics):
    """``summary.json``: how a run's optimizer halts, and what it reaches; losses in nats, on held-out problems.

    :ivar initial_loss, optimum: means over the problems; the optimum is NaN where it is not known.
    :ivar loss_at, start_loss_at, adam_loss_at: step, as text -> mean loss of the trained rule (mean over chains), of
        the same rule before training, and of Adam at ``adam_lr``, which is tuned for step H on other problems; empty
        and NaN where the problems are not for optimizers.
    :ivar updates, skipped, left_out: of all chains: updates, those skipped as all problems diverged, and how many
        training problems did and were left out.
    :ivar seconds: of training and report.
    :ivar environment: what it ran on, see ``support.environment``; empty in a summary of an earlier version.
    """

    family: str
    rule: str
    halting_posterior: str
    prior_nu: float
    seeds: tuple[int, ...]
    initial_loss: float
    optimum: float
    loss_at: dict[str, float]
    start_loss_at: dict[str, float]
    adam_loss_at: dict[str, float]
    adam_lr: float
    seconds: float
    updates: int = 0
    skipped: int = 0
    left_out: int = 0
    environment: dict[str, str] = field(default_factory=dict)


def report(run: Run, tell: Callable[[str], None] = lambda line: None) -> Summary:
    """Write ``posterior.nc``, ``figures`` and ``summary.json`` of a trained run; returns the summary.

    Without the extra ``plots`` there are no figures.

    :param tell: is given a line about what is under way.
    """
    begun = time.perf_counter()
    experiment = family_judged(run.experiment)
    problems = held_out_problems(experiment)
    tell(f"report: halting on {counted(problems.num, 'held-out problem')}")
    objectives = [chain.load() for chain in run.chains]
    tree = posterior_tree.to_datatree(experiment, objectives, problems)
    statistics = halting_statistics.halting_statistics(tree)
    posterior_tree.add_predictions(tree, objectives, problems)
    posterior_file.save(tree, run.posterior)
    if is_installed("plots"):
        from probact.reports.halting_figures import draw_all

        tell("report: figures")
        draw_all(tree, run.records(), run.figures)
    data = posterior_file.tables(tree)
    steps = reported_steps(experiment.horizon)
    finite = data.loss_path.where(abs(data.loss_path) != math.inf).mean(("chain", "optimizee"))
    started = data.initial_loss.where(abs(data.initial_loss) != math.inf)
    kept = torch.from_numpy(np.isfinite(started).all("chain").values).to(experiment.device)
    if bool(kept.any()) and not bool(kept.all()):
        problems = problems.select(kept)
    for_optimizers = problems.shows[0] is Sight.GRADIENT
    tell(f"report: the untrained rule{', and adam at the learning rate that is best for it' if for_optimizers else ''}")
    start = loss_curve(run.chains[0].untrained().rule, problems, experiment.horizon)
    adam_lr, adam_loss_at = math.nan, dict[str, float]()
    if for_optimizers:
        adam_lr = tuned_rates("adam", experiment, [experiment.horizon])[experiment.horizon]
        adam_loss_at = losses_at(loss_curve(RULES["adam"](lr=adam_lr), problems, experiment.horizon), steps)
    records = run.records().values()
    ends = [chain[-1] for chain in records if chain]
    summary = Summary(
        **vars(statistics),
        family=experiment.family,
        rule=experiment.rule,
        halting_posterior=experiment.halting,
        prior_nu=experiment.prior_nu,
        seeds=run.seeds,
        initial_loss=float(started.mean()),
        optimum=float(data.optimum.mean()),
        loss_at={str(step): float(finite.sel(step=step)) for step in steps},
        start_loss_at=losses_at(start, steps),
        adam_loss_at=adam_loss_at,
        adam_lr=adam_lr,
        seconds=sum(record["seconds"] for chain in records for record in chain) + time.perf_counter() - begun,
        updates=sum(end.get("updates", end["step"]) for end in ends),
        skipped=sum(end["skipped"] for end in ends),
        left_out=sum(end.get("left_out", 0) for end in ends),
        environment=environment(experiment.device),
    )
    write_atomically(run.summary, summary.to_json(indent=2) + "\n")
    return summary
