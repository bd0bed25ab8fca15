"""Simulation-based calibration of p(T, t|x) and of guides that can equal it; two faults show what it sees.

    python benchmarks/calibration.py
    python benchmarks/calibration.py --redraw    # the figure alone, from the results

Draws T, t and x from the model (``probact.testing.calibration``), and ranks T and t among draws from each posterior.
Writes ``benchmarks/results/calibration.json`` and ``calibration.png``: rank histograms with the 99 % band of a uniform.
"""

from __future__ import annotations

import json
import sys

import torch
from matplotlib.figure import Figure
from pages import RESULTS, read
from torch import Tensor
from torch.distributions import Normal

from probact.inference import exact
from probact.inference.belief import Inference
from probact.inference.posteriors.base import POSTERIORS
from probact.inference.priors import Prior
from probact.reports.style import EXACT, LEARNED, PRIOR, headed, panels, save_figure, styled
from probact.support.files import write_atomically
from probact.testing.calibration import histogram, p_value, ranks, simulate, stick_breaking_logits

H, NU, NUM, NUM_DRAWS, NUM_BINS = 50, 0.95, 20_000, 99, 20
PATH = 3 * 0.9 ** torch.arange(1, H + 1, dtype=torch.float64)
"""theta_1..theta_H of gradient descent on a parabola; x are two numbers from N(theta_t, 1/2)."""


def inferences() -> tuple[dict[str, Tensor], dict[str, Inference]]:
    """The T and t that were drawn, and what each posterior makes of x."""
    prior = Prior(torch.tensor(NU, dtype=torch.float64), H)
    T, t, rollout = simulate(prior, Normal(PATH, 0.5), NUM, num_observations=2)
    log_likelihood = rollout.log_likelihood

    def exactly(prior: Prior, scale: float = 1.0) -> Inference:
        told = rollout._replace(nll=rollout.nll / scale)
        return Inference(told, prior, None, exact.log_horizon_posterior(prior, told.log_likelihood))

    given_T = torch.log_softmax(prior.log_unnormalised_halting().unsqueeze(-1) + log_likelihood, 0)
    truncated = POSTERIORS["truncated"](stick_breaking_logits(given_T))
    inferred = exact.optimal_horizon(prior, exact.elbo_given_horizon(truncated, prior, log_likelihood))
    sticks = POSTERIORS["stick-breaking"](stick_breaking_logits(exact.log_posterior(prior, log_likelihood)))
    first = exact.halting_first(sticks, prior)
    return {"T": T, "t": t}, {
        "exact posterior": exactly(prior),
        "truncated, T inferred": Inference(rollout, prior, truncated, inferred),
        "stick-breaking, t drawn first": Inference(rollout, prior, first, exact.horizon_after_halting(first, prior)),
        "fault: KL scale 2": exactly(prior, scale=2.0),
        "fault: nu = .9": exactly(Prior(torch.tensor(0.9, dtype=torch.float64), H)),
    }


def draw(found: dict[str, dict[str, list[int]]]) -> Figure:
    """A row for T and one for t, a column for each posterior."""
    figure, grid = panels(2, len(found), 4.8, width=12, left=0.8, top=1.35, between=0.08, sharex=True, sharey=True)
    figure.subplots_adjust(hspace=0.3)
    share = 1 / NUM_BINS
    band = 2.576 * (NUM * share * (1 - share)) ** 0.5
    for column, (name, counts) in enumerate(found.items()):
        for row, letter in enumerate(counts):
            axes = grid[row, column]
            axes.bar(range(NUM_BINS), counts[letter], width=1.0, color=EXACT if "exact" in name else LEARNED, alpha=0.7)
            axes.axhspan(NUM * share - band, NUM * share + band, color=PRIOR, alpha=0.5, lw=0)
            p = p_value(torch.tensor(counts[letter]))
            axes.set_title(f"{name if row == 0 else ''}\n{letter}: p = {p:.2g}".strip(), fontsize="small")
            axes.set_xticks([-0.5, NUM_BINS - 0.5], ["0", str(NUM_DRAWS)])
    for axes in grid[:, 0]:
        axes.set_ylabel("number of problems")
    for axes in grid[1]:
        axes.set_xlabel(f"rank among {NUM_DRAWS} draws", fontsize="small")
    right = [name for name in found if not name.startswith("fault")]
    least = min(p_value(torch.tensor(bins)) for name in right for bins in found[name].values())
    finding = f"Ranks of the truth are uniform where inference is right (p >= {least:.2g}), and not where it is not"
    return headed(figure, finding, f"{NUM:,} problems drawn from the model; the band holds 99 % of a uniform's bins")


def main() -> None:
    torch.manual_seed(0)
    truth, told = inferences()
    found: dict[str, dict[str, list[int]]] = {}
    for name, inference in told.items():
        drawn = dict(zip(("T", "t"), inference.draw(NUM_DRAWS, torch.default_generator), strict=True))
        counts = {letter: histogram(ranks(drawn[letter], truth[letter]), NUM_DRAWS, NUM_BINS) for letter in truth}
        found[name] = {letter: bins.tolist() for letter, bins in counts.items()}
        print(f"{name:32}", *(f"{letter}: p = {p_value(bins):.3g}" for letter, bins in counts.items()))
    write_atomically(RESULTS / "calibration.json", json.dumps(found) + "\n")
    redraw(found)


def redraw(found: dict[str, dict[str, list[int]]]) -> None:
    with styled():
        save_figure(draw(found), RESULTS / "calibration.png")


if __name__ == "__main__":
    redraw(read("calibration")) if sys.argv[1:] == ["--redraw"] else main()
