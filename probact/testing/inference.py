"""Whether a class is a halting posterior, an objective, or an estimator of the ELBO."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from probact.inference.objectives.act import ACT
from probact.inference.objectives.base import OBJECTIVES, Objective
from probact.inference.objectives.estimators import ESTIMATORS, Estimator
from probact.inference.posteriors.base import NO_HALTING, POSTERIORS, HaltingDistribution
from probact.inference.priors import Prior
from probact.testing.properties import assert_causal, close, equal, finite, holds, label, precision
from probact.testing.small import HORIZON, NUM, objective, problems

K = 9
DRAWS = 20


def check_posterior(kind: type[HaltingDistribution]) -> None:
    """Its table: rows of mass 1 on t <= T, causal, with finite gradients, and what it has beside it agrees.

    :raises AssertionError: at the first property that does not hold.
    """
    part = label(POSTERIORS, kind)
    with holds(part, "names the objective that trains it"):
        equal(kind.objective in OBJECTIVES, True)
    for dtype in (torch.float32, torch.float64):
        with precision(dtype), holds(part, "log_prob has the shape (T, L, t) and the type of the logits"):
            table = kind(torch.randn(K, NUM)).log_prob()
            equal((tuple(table.shape), table.dtype), ((K, NUM, K), dtype))
    with precision(torch.float64):
        for scale in (0.1, 3.0, 40.0, 150.0):
            _check_table(part, kind(scale * torch.randn(K, NUM)))
            _check_gradients(part, kind, scale * torch.randn(K, NUM))
        with holds(part, "row T reads the logits of steps 1..T only"):
            assert_causal(kind, torch.randn(K, NUM))
        _check_start(part, kind)
        logits = 2 * torch.randn(K, NUM)
        if kind.online:
            _check_online(part, kind(logits))
        if kind.has_ponder:
            with holds(part, "ponder gives N in 1..K and R in [0, 1]"):
                num_steps, remainder = kind(logits).ponder()
                finite(num_steps, (NUM,))
                finite(remainder, (NUM,))
                equal(bool(((num_steps >= 1) & (num_steps <= K) & (remainder >= 0) & (remainder <= 1)).all()), True)


def _check_table(part: str, q: HaltingDistribution) -> None:
    table = q.log_prob().exp()
    with holds(part, "each row has mass 1"):
        close(table.sum(-1), torch.ones(K, NUM))
    with holds(part, "no mass above T"):
        above = torch.ones(K, K, dtype=torch.bool).triu(1)
        equal(float(table.transpose(0, 1)[:, above].abs().max()), 0.0)
    values, log_horizon = torch.randn(K, NUM), torch.log_softmax(torch.randn(K, NUM), 0)
    for name, arguments in (("expect", [values]), ("entropy", []), ("log_marginal", [log_horizon]),
                            ("log_marginal", [log_horizon[:, 0]]), ("log_last_row", [])):  # fmt: skip
        with holds(part, f"{name} agrees with log_prob"):
            got, expected = getattr(q, name)(*arguments), getattr(HaltingDistribution, name)(q, *arguments)
            close(*((got.exp(), expected.exp()) if name.startswith("log") else (got, expected)))


def _check_gradients(part: str, kind: type[HaltingDistribution], logits: Tensor) -> None:
    """At spreads of logits where prefix sums of e^logit underflow."""
    leaf, values = logits.clone().requires_grad_(), torch.randn(K, NUM)
    q = kind(leaf)
    expect, entropy, by_table = (
        torch.autograd.grad(total.sum(), leaf, retain_graph=True)[0]
        for total in (q.expect(values), q.entropy(), HaltingDistribution.expect(q, values))
    )
    with holds(part, "gradients of expect and entropy are finite"):
        finite(expect, (K, NUM))
        finite(entropy, (K, NUM))
    with holds(part, "gradient of expect agrees with log_prob"):
        close(expect, by_table, rtol=1e-6, atol=1e-9)


def _check_start(part: str, kind: type[HaltingDistribution]) -> None:
    """It may start later than the prior: from even hazards, halting sticks at the first steps."""
    steps = torch.arange(1.0, K + 1)
    for nu in (0.3, 0.8, 0.95):
        with holds(part, f"at initial_bias({nu}) it halts near the prior or later"):
            start = kind(torch.full((K, 1), kind.initial_bias(nu))).log_last_row().exp()[:, 0]
            at_least = 0.75 * Prior(nu, K).marginal().mean
            close((steps * start).sum().clamp_max(at_least), at_least)


def _check_online(part: str, q: HaltingDistribution) -> None:
    with holds(part, "hazards followed step by step spend the mass of the last row"):
        halted, spent = torch.zeros(NUM), []
        for logit in q.logits[:-1]:
            halted = halted + (1 - halted) * q.hazard(logit, halted)
            spent.append(halted)
        close(torch.stack(spent), q.log_last_row().exp().cumsum(0)[:-1])


def check_objective(kind: type[Objective], **options: Any) -> None:
    """Its losses, with every halting posterior that it takes: shapes, no problem sees another, the rule learns.

    :param options: what ``--objective-option`` would give it.
    :raises AssertionError: at the first property that does not hold.
    """
    part, taken = label(OBJECTIVES, kind), []
    with holds(part, "takes the setting log_loss_weight and passes it on"):
        equal("log_loss_weight" in OBJECTIVES.keywords(kind.name), True)
    for halting in (*POSTERIORS, NO_HALTING):
        settings = {"objective": kind.name, "objective_options": options, "halting": halting}
        for dtype in (torch.float32, torch.float64):
            with precision(dtype):
                try:
                    built = objective(**settings, log_loss_weight=0.5)
                except ValueError as error:
                    refusal = error
                    continue
                taken.append(halting)
                _check_objective(f"{part} with halting {halting!r}", built)
    with holds(part, "takes a halting posterior, or none"):
        if not taken:
            raise refusal


def _check_objective(part: str, built: Objective) -> None:
    drawn = problems("regression")
    rollout = built.unroll(drawn, torch.Generator().manual_seed(0))
    with holds(part, "log_loss_weight is what the setting says"):
        equal(built.log_loss_weight, 0.5)
    built.loss(rollout).backward()
    with holds(part, "the rule learns"):
        learned = [weight.grad for weight in built.rule.parameters() if weight.grad is not None]
        finite(torch.cat([grad.flatten() for grad in learned]), (sum(grad.numel() for grad in learned),))
        equal(any(bool(grad.any()) for grad in learned), True)
    built.eval()
    with torch.no_grad():
        rollout = built.unroll(drawn)
        losses = built.losses(rollout)
        for anneal in (1.0, 0.3):
            with holds(part, f"losses of each problem, anneal {anneal}"):
                finite(built.losses(rollout, anneal), (NUM,))
        with holds(part, "loss is the mean of losses"):
            close(built.loss(rollout), losses.mean())
        kept = torch.tensor([False, True, False, True, True])
        with holds(part, "loss of problem l reads row l only"):
            close(built.losses(rollout.select(kept)), losses[kept])
        lost = rollout.nll.masked_fill(~kept & (torch.arange(HORIZON + 1) > 4).unsqueeze(1), torch.inf)
        with holds(part, "problems that diverged are left out"):
            close(built.score(rollout._replace(nll=lost)), built.score(rollout.select(kept)))
        if built.adds_up:
            one, two, both = (
                built.losses(rollout._replace(nll=rollout.nll[start : end + 1], features=rollout.features[start:end]))
                for start, end in ((0, 2), (2, 4), (0, 4))
            )
            with holds(part, "as it adds up, the loss of an unroll is sum or mean over its parts"):
                close(both, (1.0 if torch.allclose(one + two, both) else 0.5) * (one + two))


def check_estimator(kind: type[Estimator], halting: str = "stick-breaking") -> None:
    """Its loss and gradient, under every guide that it takes: those of the closed form, or on average over draws.

    :param halting: a name in ``POSTERIORS``.
    :raises AssertionError: at the first property that does not hold.
    """
    part = label(ESTIMATORS, kind)
    guides: list[dict[str, Any]] = [{}]
    if not kind.draws_horizon:
        guides += [{"infer_horizon": True}, {"halting_first": True}]
    for guide in guides:
        for anneal in (1.0, 0.3):
            with precision(torch.float64):
                settings = {"halting": halting, "estimator": kind.name, "horizon": 4, "kl_scale": 0.7, **guide}
                act = objective(objective="elbo", rule_options={"hidden_size": 3, "num_layers": 1}, **settings)
                assert isinstance(act, ACT)
                _check_estimate(part, f"{', '.join(guide) or 'horizon first'}, anneal {anneal}", act, anneal)


def _check_estimate(part: str, what: str, act: ACT, anneal: float) -> None:
    drawn = problems("quadratic", 2).select(torch.arange(2).repeat_interleave(50))  # two problems, many draws of T
    random = torch.Generator().manual_seed(0)

    def estimate() -> tuple[Tensor, Tensor]:
        """The loss, and its gradient for every weight in one row."""
        loss = act.loss(act.unroll(drawn, random), anneal)
        grads = torch.autograd.grad(loss, list(act.parameters()), allow_unused=True, materialize_grads=True)
        return loss.detach(), torch.cat([grad.flatten() for grad in grads])

    act.eval()
    loss, gradient = estimate()
    act.train()
    draws = [estimate() for _ in range(2)]
    if torch.equal(draws[0][0], draws[1][0]):
        with holds(part, f"loss is the closed form's ({what})"):
            close(draws[0][0], loss, rtol=1e-9, atol=1e-9)
        with holds(part, f"gradient is the closed form's ({what})"):
            close(draws[0][1], gradient, rtol=1e-8, atol=1e-8)
        return
    draws += [estimate() for _ in range(DRAWS - 2)]
    for name, drawn_values, expected in (
        ("loss", torch.stack([value for value, _ in draws]), loss),
        ("gradient", torch.stack([grad[-1] for _, grad in draws]), gradient[-1]),
    ):
        error = float(drawn_values.std()) / DRAWS**0.5
        with holds(part, f"{name} is unbiased, to 4 standard errors ({what})"):
            close(drawn_values.mean(), expected, rtol=0, atol=4 * error)
