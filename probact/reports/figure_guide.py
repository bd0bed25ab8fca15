"""How to read each figure, in one or two sentences: what ``fit`` prints when it ends, and what the gallery says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

SHOWS: dict[str, str] = {
    "halting_heat_map": "each row is a few problems, from easy to hard: do q(t|x) and the exact posterior lie on each "
    "other, and does the own stop follow the best step?",
    "halting_by_problem": "four problems: the curve above falls while a step pays for itself, so the own stop belongs "
    "at its lowest point; below, q should cover the exact posterior.",
    "stop_and_regret": "left: points on the line stop where hindsight would; right: the further up and left a curve, "
    "the less its way to stop loses.",
    "gaps_and_calibration": "left: nats that the bound lies below the evidence, and why; right: flat at 1 means that "
    "q is calibrated, more mass at the right that it halts early.",
    "arviz_forest": "halting steps drawn from q for twelve problems, by ArviZ: intervals should move right from easy "
    "to hard; if all are alike, halting ignores the problem.",
    "learning_curve": "a training that is done is flat at the end; the circle marks the weights that were kept. E[t] "
    "should come near the exact posterior's.",
    "prior": "what the prior expects before it sees a problem, and below what it charges for one more step.",
    "evidence_curve": "the nu under which the losses are most probable: a trained nu outside the band is far from "
    "what these problems ask for.",
    "nu_forest": "draws of nu for each kind of problems, as mean halting steps: intervals that do not meet are kinds "
    "that want to be optimized for different times.",
    "learning_curves": "held-out loss step by step: the learned optimizer in colour, the best baselines in shades of "
    "ink; lower and further left is better.",
    "steps_against_loss": "one point for each price of a step: the learned stop pays where its line lies below and "
    "left of the fixed budget's.",
    "calibration": "on the diagonal, of the problems that q gives 70 % to have halted, 70 % have no more to gain; "
    "above it q halts late, below it early.",
    "comparison": "left: loss against steps, the dot is where the run stops on average; right: runs whose bars miss "
    "the dotted line are worse than the best run.",
    "sweep": "what the setting does to the stop, the loss there and the evidence; the dotted line is the value with "
    "the largest evidence.",
    "monitor": "the validation metric with the best look, and below the probability that enough was seen; the line "
    "is where the monitor stopped.",
    "rewards": "left: a moving mean that rises means that the controller learns; right: the best rule so far beside "
    "Adam on fresh networks.",
    "regret_by_price": "how much of what was to be gained each way to stop loses; the lowest line is best at that "
    "price.",
    "regret_by_data_set": "the same for each kind of training: a point far right is a kind where that way to stop is "
    "a bad choice.",
    "forecasts": "what the head forecasts against how often it came true: on the diagonal it can be believed.",
    "arviz_trace": "draws of t by ArviZ, one colour for each training seed: bars that differ are seeds that halt "
    "differently.",
    "arviz_rank": "ranks of each seed's draws among all, as shares of the bins: flat at the line where seeds agree.",
    "arviz_posterior": "q(t|x) of an easy, a middling and a hard problem as ArviZ draws it, with mean and interval.",
    "arviz_predictive": "observed x against x drawn from p(x|theta_t) at the halting steps: shapes should agree.",
    "calibration_of_inference": "ranks of the true T and t among draws of each posterior: bars inside the grey band "
    "are right; the last two columns are faults put in on purpose.",
    "steps_by_nonzeros": "computation that stops when it is done: more to add up takes more steps.",
    "found_rules": "rewards of rules that three controllers write: higher is better, Adam is the dashed line.",
}
"""File name of a figure, without suffix -> how to read it."""
WITHOUT_POSTERIOR = {
    "halting_heat_map": "each row is a few problems, from easy to hard: the exact posterior moves right as the best "
    "step in hindsight, the circles, does.",
    "halting_by_problem": "four problems: the curve above falls while a step pays for itself, so the stop belongs at "
    "its lowest point; below, prior and exact posterior.",
    "arviz_forest": "halting steps drawn from the exact posterior for twelve problems, by ArviZ: intervals move right "
    "from easy to hard where harder problems ask for more steps.",
    "learning_curve": "a training that is done is flat at the end; the circle marks the weights that were kept.",
    "arviz_trace": "draws of t from the exact posterior by ArviZ, one colour for each training seed: bars that differ "
    "are seeds whose losses ask for different stops.",
    "arviz_posterior": "exact p(t|x) of an easy, a middling and a hard problem as ArviZ draws it, with mean and "
    "interval.",
    "arviz_predictive": "observed x against x drawn from p(x|theta_t) at t drawn from the exact posterior: shapes "
    "should agree.",
}
"""The same of a run with no halting posterior (``--halting none``), where that is another thing to see."""


def lines(paths: Iterable[Path], learned: bool = True) -> Iterator[str]:
    """One for each of the files that is a figure known here, its name and how to read it.

    :param learned: whether the run has a halting posterior q.
    """
    shows = SHOWS if learned else {**SHOWS, **WITHOUT_POSTERIOR}
    yield from (f"{path.name}: {shows[path.stem]}" for path in sorted(paths) if path.stem in shows)
