"""One experiment: every setting of a meta-training run, and how it becomes a family and an objective."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from probact.problems.base import FAMILIES
from probact.unrolling.compilation import SEGMENT

GRADIENTS = ("backprop", "pes")


@dataclass(frozen=True)
class Experiment:
    """Settings of one run; ``Experiment.create`` fills what is not given from the family's recommendations.

    :ivar family, rule: names in ``FAMILIES`` and ``RULES``, with the keyword options of each.
    :ivar safeguard: let the rule wear ``rules.safeguarded.Safeguarded``, in training and afterwards.
    :ivar begin_with: what the run began with in place of a rule's initial weights, as it was named: a run's folder, an
        exported file, or a shipped optimizer.  ``build`` does not read it: ``MetaTraining.begin_with`` does.
    :ivar freeze_rule: train the halting posterior alone.
    :ivar halting: a name in ``POSTERIORS``, or ``none``.
    :ivar objective: a name in ``OBJECTIVES``; empty: the posterior's own.
    :ivar objective_options: keyword options of it that are no settings of an experiment.
    :ivar log_loss_weight: how much of ``objectives.log_loss`` is added to it.
    :ivar prior_nu: probability to continue, in (0, 1).
    :ivar horizon: H, steps of an unroll.
    :ivar kl_scale, kl_warmup: weight of the KL, and meta-steps over which it (or the ponder cost) rises from 0.
    :ivar infer_horizon, halting_first: what the guide does with T: see ``act.ACT``.
    :ivar ponder_cost: tau of Graves' objective, in nats.
    :ivar imitate: a hand-designed rule that teaches the learned one; empty: none.
    :ivar imitation_weight, imitation_steps: what its lesson counts at first, and the meta-steps after which it is over.
    :ivar imitation_lr: the teacher's learning rate; 0: the one tuned for step H.
    :ivar curriculum: meta-steps over which the unrolls of training grow to H; 0: all have H steps.
    :ivar gradient: ``backprop``, or ``pes``: see ``evolution.evolve``.
    :ivar pes_sigma: standard deviation of its perturbations of the rule's weights.
    :ivar truncate: steps of truncated backpropagation, or of a segment of PES; 0: all.
    :ivar by_segment: update the weights after each ``truncate`` steps, not once an unroll.
    :ivar recompute: work every step out a second time in place of keeping its graph: see ``rollout.unroll``.
    :ivar compiled: fuse steps by ``torch.compile``.
    :ivar batch: L, problems of a meta-step.
    :ivar random_scaling: standard deviation of the log of the factors on the coordinates of training problems.
    :ivar lr: meta learning rate, falling to 0 on a cosine.
    :ivar clip: largest norm of the meta-gradient.
    :ivar validate_every: meta-steps between validations, each on ``validation_problems`` problems.
    :ivar test_problems: held-out problems of the summary.
    """

    family: str = "regression"
    family_options: Mapping[str, Any] = field(default_factory=dict)
    rule: str = "lstm"
    rule_options: Mapping[str, Any] = field(default_factory=dict)
    safeguard: bool = False
    begin_with: str = ""
    freeze_rule: bool = False
    halting: str = "stick-breaking"
    objective: str = ""
    objective_options: Mapping[str, Any] = field(default_factory=dict)
    log_loss_weight: float = 0.0
    prior_nu: float = 0.95
    horizon: int = 100
    estimator: str = "collapse"
    kl_scale: float = 1.0
    kl_warmup: int = 0
    infer_horizon: bool = False
    halting_first: bool = False
    ponder_cost: float = 0.5
    imitate: str = ""
    imitation_weight: float = 1.0
    imitation_steps: int = 300
    imitation_lr: float = 0.0
    curriculum: int = 0
    gradient: str = "backprop"
    pes_sigma: float = 0.01
    truncate: int = 20
    through_path: bool = False
    by_segment: bool = False
    recompute: bool = False
    compiled: bool = False
    meta_steps: int = 600
    batch: int = 64
    random_scaling: float = 0.0
    lr: float = 0.02
    clip: float = 1.0
    validate_every: int = 25
    validation_problems: int = 128
    test_problems: int = 1024
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        counts = ("horizon", "batch", "validate_every", "validation_problems", "test_problems")
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name.replace('_', '-')} >= 1, got {getattr(self, name)}")
        for name in ("log_loss_weight", "imitation_weight", "imitation_lr"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"expected {name.replace('_', '-')} >= 0, got {getattr(self, name)}")
        for name in ("random_scaling", "meta_steps", "imitation_steps", "curriculum", "truncate", "kl_warmup", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"expected {name.replace('_', '-')} >= 0, got {getattr(self, name)}")
        for name in ("kl_scale", "lr", "clip", "pes_sigma"):
            if not getattr(self, name) > 0:
                raise ValueError(f"expected {name.replace('_', '-')} > 0, got {getattr(self, name)}")
        chosen = [name for name in ("by_segment", "recompute", "compiled") if getattr(self, name)]
        if len(chosen) > 1:
            raise ValueError(f"expected by-segment, recompute or compiled, got {' and '.join(chosen)}")
        if self.gradient not in GRADIENTS:
            raise ValueError(f"unknown gradient {self.gradient!r}: choose from {', '.join(GRADIENTS)}")
        if self.gradient == "pes" and (self.by_segment or self.imitate):
            raise ValueError(f"expected gradient pes or {'by-segment' if self.by_segment else 'imitate'}, got both")
        if self.compiled and self.truncate % SEGMENT:
            raise ValueError(f"compiled: expected truncate to be a multiple of {SEGMENT}, got {self.truncate}")
        if not 0 < self.prior_nu < 1:
            raise ValueError(f"expected prior-nu, the probability to continue, inside (0, 1), got {self.prior_nu}")
        if self.safeguard and self.compiled:
            raise ValueError("expected safeguard or compiled, got both: what the safeguard does depends on the losses")
        if self.freeze_rule and not self.begin_with:
            raise ValueError("freeze-rule: expected begin-with, the trained rule to keep, got none")

    @classmethod
    def create(cls, **given: Any) -> Self:
        """Defaults, then the family's recommended settings (rule options for the default rule), then ``given``.

        :raises ValueError: on an unknown setting or name, or a value out of range.
        """
        known = [entry.name for entry in fields(cls)]
        for name in given:
            if name not in known:
                raise ValueError(f"unknown setting {name!r}: choose from {', '.join(known)}")
        recommended = dict(FAMILIES[given.get("family", cls.family)].recommended)
        for chosen, other in (("halting_first", "infer_horizon"), ("infer_horizon", "halting_first")):
            if given.get(chosen):
                recommended.pop(other, None)  # one guide of T excludes the other
        if given.get("rule", cls.rule) != cls.rule:
            recommended.pop("rule_options", None)  # they are the default rule's
        return cls(**{**recommended, **given})

    def given(self) -> dict[str, Any]:
        """What ``create`` has to be given to make this: all that neither a default nor the family says."""
        given: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if value != getattr(type(self).create(**given), entry.name):
                given[entry.name] = value
        return given

    @property
    def step_cost(self) -> float:
        """The price of a step that training charged, -kl_scale log nu, in nats."""
        return -self.kl_scale * math.log(self.prior_nu)

    def to_json(self) -> str:
        """Readable JSON; ``from_json`` reads it back."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """:raises ValueError: if ``text`` is not an experiment."""
        try:
            settings = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"not JSON ({error})") from None
        if not isinstance(settings, dict):
            raise ValueError(f"expected a JSON object of settings, got {type(settings).__name__}")
        try:
            return cls.create(**settings)
        except TypeError as error:
            raise ValueError(f"a setting has the wrong type ({error})") from None
