"""What a trained run is reported as: its posterior file, figures and summary."""

from __future__ import annotations

import json
import math
import time
from typing import Any

from probact.judging.problem_sets import held_out_problems, reported_steps
from probact.judging.trajectory import loss_curve, losses_at
from probact.judging.tuning import tuned_rates
from probact.reports import halting_figures, halting_statistics, posterior_file, posterior_tree
from probact.rules.base import RULES
from probact.runs.assembly import family_judged
from probact.runs.run import Run
from probact.support.files import finite_numbers, write_atomically


def report(run: Run) -> dict[str, Any]:
    """Write ``posterior.nc``, ``figures`` and ``summary.json`` of a trained run; returns the summary.

    ``loss_at``, ``start_loss_at``, ``adam_loss_at``: step -> mean held-out loss of the trained rule (mean over chains),
    of the same rule before training, and of Adam at the learning rate tuned for step H on other problems.
    """
    begun = time.perf_counter()
    experiment = family_judged(run.experiment)
    problems = held_out_problems(experiment)
    objectives = [chain.load() for chain in run.chains]
    tree = posterior_tree.to_datatree(experiment, objectives, problems)
    statistics = halting_statistics.halting_statistics(tree)
    posterior_file.save(tree, run.posterior)
    halting_figures.draw_all(tree, run.records(), run.figures)
    data = posterior_file.tables(tree)
    steps = reported_steps(experiment.horizon)
    finite = data.loss_path.where(abs(data.loss_path) != math.inf).mean(("chain", "optimizee"))
    start = loss_curve(run.chains[0].untrained().rule, problems, experiment.horizon)
    adam_lr = tuned_rates("adam", experiment, [experiment.horizon])[experiment.horizon]
    adam = loss_curve(RULES["adam"](lr=adam_lr), problems, experiment.horizon)
    known = [record["seconds"] for records in run.records().values() for record in records]
    summary = {
        "family": experiment.family,
        "rule": experiment.rule,
        "halting_posterior": experiment.halting,
        "prior_nu": experiment.prior_nu,
        "seeds": list(run.seeds),
        "num_optimizees": problems.num,
        "initial_loss": float(data.initial_loss.mean()),
        "optimum": float(data.optimum.mean()),
        "loss_at": {str(step): float(finite.sel(step=step)) for step in steps},
        "start_loss_at": losses_at(start, steps),
        "adam_loss_at": losses_at(adam, steps),
        "adam_lr": adam_lr,
        **statistics,
        "seconds": sum(known) + time.perf_counter() - begun,
    }
    write_atomically(run.summary, json.dumps(finite_numbers(summary), indent=2) + "\n")
    return summary
