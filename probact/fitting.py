"""A whole run: train every chain, then write its posterior, figures and summary."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from probact import beliefs, diagnostics, plots
from probact.data import VARIABLE as DATA_DIRECTORY
from probact.evaluation import held_out_problems, losses_at, reported_steps
from probact.experiment import Experiment
from probact.files import finite_numbers, write_atomically
from probact.imitation import teacher_of
from probact.parallel import ProcessLostError, Ranks
from probact.records import Record
from probact.registry import RULES
from probact.rules.handcrafted import HandDesigned
from probact.runs import Chain, Run
from probact.training import MetaTraining
from probact.tuning import loss_curve, tuned_rates

SECONDS_BETWEEN_SAVES = 10.0


def with_tuned_rate(experiment: Experiment) -> Experiment:
    """A hand-designed rule and a teacher whose rates were not given get those tuned for step H; else unchanged."""
    tuned: dict[str, Any] = {}
    if issubclass(RULES[experiment.rule], HandDesigned) and "lr" not in experiment.rule_options:
        lr = tuned_rates(experiment.rule, experiment.judged, [experiment.horizon], experiment.rule_options)
        tuned["rule_options"] = {**experiment.rule_options, "lr": lr[experiment.horizon]}
    if experiment.imitate and not experiment.imitation_lr:
        tuned["imitation_lr"] = teacher_of(experiment).lr
    return replace(experiment, **tuned) if tuned else experiment


def train(
    chain: Chain, on_record: Callable[[Record], None], should_stop: Callable[[], bool], ranks: Ranks | None = None
) -> bool:
    """Train ``chain`` to its end from wherever its checkpoint is; True if it got there.

    The checkpoint is written every few seconds, when ``should_stop`` says so, when a rank is lost, and at the end.
    """
    ranks = ranks or Ranks()
    training = MetaTraining(chain.experiment, ranks)
    chain.restore(training)
    last_save = time.monotonic()
    try:
        if not ranks.alone:
            order = {"experiment": chain.experiment.to_json(), "state": training.state_dict()}
            ranks.broadcast({**order, "data": os.environ.get(DATA_DIRECTORY, "")})
        for record in training:
            chain.log(record)
            on_record(record)
            if should_stop() or time.monotonic() - last_save > SECONDS_BETWEEN_SAVES:
                chain.save(training)
                last_save = time.monotonic()
            if should_stop():
                return training.step >= chain.experiment.meta_steps
    except ProcessLostError:
        chain.save(training)
        raise
    chain.save(training)
    return True


def follow(ranks: Ranks) -> None:
    """What the ranks beside rank 0 do: train in step with its ``train``, chain after chain, until it dismisses them.

    :raises ProcessLostError: if rank 0 ended without that, as it does after an error.
    """
    while (order := ranks.broadcast()) is not None:
        os.environ.setdefault(DATA_DIRECTORY, order["data"])
        experiment = Experiment.from_json(order["experiment"])
        ranks.use_device(experiment.device)
        training = MetaTraining(experiment, ranks)
        training.load_state_dict(order["state"])
        for _ in training:
            if ranks.should_stop():
                break
    ranks.leave()


def report(run: Run) -> dict[str, Any]:
    """Write ``posterior.nc``, ``figures`` and ``summary.json`` of a trained run; returns the summary.

    ``loss_at``, ``start_loss_at``, ``adam_loss_at``: step -> mean held-out loss of the trained rule (mean over chains),
    of the same rule before training, and of Adam at the learning rate tuned for step H on other problems.
    """
    begun = time.perf_counter()
    experiment = run.experiment.judged
    problems = held_out_problems(experiment)
    objectives = [chain.load() for chain in run.chains]
    tree = diagnostics.to_datatree(experiment, objectives, problems)
    statistics = beliefs.halting_statistics(tree)
    beliefs.save(tree, run.posterior)
    plots.draw_all(tree, run.records(), run.figures)
    data = beliefs.tables(tree)
    steps = reported_steps(experiment.horizon)
    finite = data.loss_path.where(abs(data.loss_path) != math.inf).mean(("chain", "optimizee"))
    untrained = MetaTraining(experiment)
    run.chains[0].begin(untrained)
    start = loss_curve(untrained.objective.rule, problems, experiment.horizon)
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
