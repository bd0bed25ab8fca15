"""One experiment: every setting of a meta-training run, and how it becomes a family and an objective."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from probact.inference.objectives.base import OBJECTIVES
from probact.inference.objectives.estimators import ESTIMATORS
from probact.inference.posteriors.base import NO_HALTING, POSTERIORS
from probact.inference.price import nu_of, price_of
from probact.inference.prior_parts import HALTING_PRIORS, HORIZON_PRIORS
from probact.inference.priors import Prior
from probact.problems.base import FAMILIES, OptimizeeFamily
from probact.rules.base import RULES
from probact.rules.hand_designed import HandDesigned
from probact.runs.exclusions import check_together
from probact.runs.settings import Setting, schema_of, setting
from probact.unrolling.looks import Looks
from probact.unrolling.walk import DEFAULT_UNROLLING

GRADIENTS = ("backprop", "pes")


@dataclass(frozen=True)
class Experiment:
    """Settings of one run; ``Experiment.create`` fills what is not given from the family's recommendations.

    :raises ValueError: on a value of the wrong type or out of range, or settings that exclude each other.
    """

    family: str = setting("logistic-mixed", "What the optimizer is trained on; see `list`.", parts=FAMILIES)
    family_options: Mapping[str, Any] = setting(
        {}, "Option of the family; `list` shows them with their ranges.", options=("--family-option",)
    )
    rule: str = setting(
        "lstm",
        "The optimizer, learned or hand-designed (then only its halting is trained).",
        parts=RULES,
    )
    rule_options: Mapping[str, Any] = setting(
        {}, "Option of the rule; `list` shows them with their ranges.", options=("--rule-option",)
    )
    safeguard: bool = setting(
        False,
        "Let the rule go back to its best iterate, with shorter steps, when the loss gets lost.",
        options=("--safeguard", "--no-safeguard"),
    )
    begin_with: str = setting(
        "",
        "Begin with a trained optimizer: a run's folder (its best weights), a file of `export`, or a shipped one.",
    )
    freeze_rule: bool = setting(
        False,
        "Keep the weights that it began with, and learn only when to stop.",
        options=("--freeze-rule", "--train-rule"),
    )
    halting: str = setting(
        "stick-breaking",
        "Halting posterior q(t|x,T); `none` learns to optimize only.",
        parts=POSTERIORS,
        names=(NO_HALTING,),
    )
    objective: str = setting(
        "", "What training minimises; if not given, the halting posterior's own.", parts=OBJECTIVES
    )
    objective_options: Mapping[str, Any] = setting(
        {}, "Option of the objective; `list` shows them with their ranges.", options=("--objective-option",)
    )
    log_loss_weight: float = setting(
        0.0, "Weight of the mean log loss added to it, which teaches every step alike.", at_least=0
    )
    prior_nu: float = setting(
        0.95, "Probability to continue: the halting step has prior mean 1 / (1 - nu).", above=0, below=1
    )
    price: float = setting(
        0.0,
        "Price of a step in the unit of the family's values, where they have one (gp-1d, ...); else their own, .01.",
        above=0,
    )
    horizon_prior: str = setting(
        "geometric", "p(T); `flat`: the one with which every step costs -log nu.", parts=HORIZON_PRIORS
    )
    horizon_prior_options: Mapping[str, Any] = setting(
        {}, "Option of it; `list` shows them with their ranges.", options=("--horizon-prior-option",)
    )
    halting_prior: str = setting("geometric", "p(t|T), made of one alpha(t) on t <= T.", parts=HALTING_PRIORS)
    halting_prior_options: Mapping[str, Any] = setting(
        {}, "Option of it; `list` shows them with their ranges.", options=("--halting-prior-option",)
    )
    horizon: int = setting(100, "H: steps of an unroll, the cap on T and t.", at_least=1)
    horizon_from: int = setting(
        0, "Draw the steps of each unroll of training log-uniform from so many to H; 0: all have H.", at_least=0
    )
    tell_horizon: bool = setting(
        False,
        "Tell a rule that plans how many steps an unroll has: in half of training and in validation, not in reports.",
        options=("--tell-horizon", "--hide-horizon"),
    )
    estimator: str = setting("collapse", "How the ELBO sums over T and t.", parts=ESTIMATORS)
    kl_scale: float = setting(1.0, "Weight of the KL to the prior; 1 makes the bound a bound.", above=0)
    kl_warmup: int = setting(0, "Meta-steps over which that weight, or the ponder cost, rises from 0.", at_least=0)
    nu_warmup: int = setting(
        0,
        "Meta-steps over which nu falls from .95 to a smaller --prior-nu: steps grow dear when they are of use.",
        at_least=0,
    )
    infer_horizon: bool = setting(
        False,
        "Put the optimal q(T|x) in the guide in place of p(T): a tighter bound.",
        options=("--infer-horizon", "--no-infer-horizon"),
    )
    head_units: int = setting(32, "Units of the recurrent network that halting is read from.", at_least=1, below=10_000)
    halting_first: bool = setting(
        False,
        "Let the guide be q(t|x) p(T|t), not p(T) q(t|x,T): no horizon gap, online hazards.",
        options=("--halting-first", "--horizon-first"),
    )
    looks: bool = setting(
        False,
        "Let halting see the loss on x itself at each step, and all losses in prices of a step.",
        options=("--looks", "--no-looks"),
    )
    recall: bool = setting(
        False, "Return the best look up to the stop, not the last one.", options=("--recall", "--no-recall")
    )
    prior_nu_range: tuple[float, ...] = setting(
        (),
        "Train for all nu between these two, their prices -log nu log-uniform; needs looks.",
        above=0,
        below=1,
    )
    ponder_cost: float = setting(0.5, "tau of Graves' objective, in nats.", above=0)
    imitate: str = setting(
        "", "Hand-designed rule that the learned one imitates at first.", parts=RULES, base=HandDesigned
    )
    imitation_weight: float = setting(1.0, "What imitation counts at the first meta-step, falling to 0.", at_least=0)
    imitation_steps: int = setting(300, "Meta-steps until then.", at_least=0)
    imitation_lr: float = setting(0.0, "The teacher's learning rate; 0: the one tuned for step H.", at_least=0)
    curriculum: int = setting(
        0, "Meta-steps over which the unrolls of training grow from H/10 to H steps; 0: all have H.", at_least=0
    )
    gradient: str = setting(
        "backprop",
        "Of the rule's weights: by backpropagation, or by evolution strategies.",
        names=GRADIENTS,
    )
    pes_sigma: float = setting(
        0.01, "Standard deviation of their perturbations; --batch is the number of pairs.", above=0
    )
    truncate: int = setting(20, "Steps of truncated backpropagation, or between perturbations; 0: all.", at_least=0)
    through_path: bool = setting(
        DEFAULT_UNROLLING.through_path,
        "Backpropagate through the path of the parameters, or cut it at every step.",
        options=("--through-path", "--cut-path"),
    )
    by_segment: bool = setting(
        DEFAULT_UNROLLING.by_segment,
        "Update the weights after each segment of truncated backpropagation, or once an unroll.",
        options=("--by-segment", "--by-unroll"),
    )
    recompute: bool = setting(
        DEFAULT_UNROLLING.recompute,
        "Work every step out twice in place of keeping its graph: memory that does not grow with H, for a forward "
        "pass more.",
        options=("--recompute", "--keep-graph"),
    )
    compiled: bool = setting(
        DEFAULT_UNROLLING.compiled,
        "Fuse steps by torch.compile, which takes half a minute first: for long trainings of small problems.",
        options=("--compile", "--no-compile"),
    )
    meta_steps: int = setting(600, "Updates of the optimizer's weights.", at_least=0)
    batch: int = setting(64, "L: problems of one meta-step.", at_least=1)
    random_scaling: float = setting(
        0.0, "Spread of the log of random factors on the coordinates of training problems; 0: none.", at_least=0
    )
    lr: float = setting(0.02, "Meta learning rate, falling to 0 on a cosine.", above=0)
    clip: float = setting(1.0, "Largest norm of the meta-gradient.", above=0)
    validate_every: int = setting(25, "Meta-steps between validations; the best weights are kept.", at_least=1)
    validation_problems: int = setting(128, "Problems of the fixed validation set.", at_least=1)
    test_problems: int = setting(1024, "Held-out problems of the summary and of posterior.nc.", at_least=1)
    seed: int = setting(0, "Seed; repeat it for several chains.", at_least=0, several=True)
    device: str = setting("cpu", "cpu or cuda.")

    def __post_init__(self) -> None:
        for name, declared in SETTINGS.items():
            value = getattr(self, name)
            object.__setattr__(self, name, value if declared.is_none(value) else checked(name, value))
        check_together(self)

    def build_family(self) -> OptimizeeFamily:
        """The family with its options, at the price asked for; it reads its data when it is first sampled."""
        family = FAMILIES.build(self.family, self.family_options)
        return family.priced(self.price, self.step_cost) if self.price or family.has_unit else family

    def build_prior(self) -> Prior:
        """p(T) and p(t|T), capped at H."""
        return Prior(
            self.prior_nu,
            self.horizon,
            self.device,
            HORIZON_PRIORS.build(self.horizon_prior, self.horizon_prior_options),
            HALTING_PRIORS.build(self.halting_prior, self.halting_prior_options),
        )

    def build_looks(self) -> Looks | None:
        """How halting sees x, at the price that training charges."""
        return Looks(self.step_cost, self.recall) if self.looks else None

    def at_price(self, share: float) -> Self:
        """At the nu whose price lies so far, 0 to 1, in ``prior_nu_range`` (log scale); the same without one."""
        if not self.prior_nu_range:
            return self
        high, low = (math.log(price_of(nu)) for nu in self.prior_nu_range)
        return replace(self, prior_nu=nu_of(math.exp(low + share * (high - low))))

    @classmethod
    def create(cls, /, **given: Any) -> Self:
        """Defaults, then the family's recommended settings (rule options for the default rule), then ``given``.

        :raises ValueError: on an unknown setting, and as the class does.
        """
        for name in given:
            if name not in SETTINGS:
                raise ValueError(f"unknown setting {name!r}: choose from {', '.join(SETTINGS)}")
        recommended = dict(FAMILIES[checked("family", given.get("family", cls.family))].recommended)
        for chosen, other in (("halting_first", "infer_horizon"), ("infer_horizon", "halting_first")):
            if given.get(chosen):
                recommended.pop(other, None)  # one guide of T excludes the other
        if given.get("rule", usual := recommended.get("rule", cls.rule)) != usual:
            recommended.pop("rule_options", None)  # they are the rule's that the family recommends, or the default's
        if given.get("halting") == NO_HALTING or given.get("by_segment") or not given.get("looks", True):
            recommended = {name: value for name, value in recommended.items() if name not in ("looks", "recall")}
        return cls(**{**recommended, **given})

    def given(self) -> dict[str, Any]:
        """What ``create`` has to be given to make this: all that neither a default nor the family says."""
        given: dict[str, Any] = {}
        for name in SETTINGS:
            value = getattr(self, name)
            if value != getattr(type(self).create(**given), name):
                given[name] = value
        return given

    @property
    def step_cost(self) -> float:
        """The price of a step that training charged, -kl_scale log nu, in nats: all along with horizon prior `flat`."""
        return price_of(self.prior_nu, self.kl_scale)

    def to_json(self) -> str:
        """Readable JSON; ``from_json`` reads it back."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """:raises ValueError: if ``text`` is not an experiment."""
        return cls.create(**settings_in(text))

    @staticmethod
    def schema() -> dict[str, Any]:
        """The JSON schema (draft 2020-12) of a run's ``experiment.json``."""
        return schema_of("probact experiment", SETTINGS)


SETTINGS: dict[str, Setting] = {entry.name: entry.metadata["setting"] for entry in fields(Experiment)}
"""The declaration of each field of ``Experiment``."""


BEFORE = {"horizon_prior": "geometric", "halting_prior": "geometric"}
"""What experiments had before they said so, whatever a family recommends today."""


def checked(name: str, value: Any) -> Any:
    """``value`` as the setting ``name`` keeps it.

    :raises ValueError: if it cannot be one.
    """
    try:
        return SETTINGS[name].check(value)
    except ValueError as error:
        raise type(error)(f"{name}: {error}") from None


def settings_in(text: str) -> dict[str, Any]:
    """The settings in JSON, not yet checked.

    :raises ValueError: if ``text`` is not a JSON object.
    """
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from None
    if not isinstance(settings, dict):
        raise ValueError(f"expected a JSON object of settings, got {type(settings).__name__}")
    return {**BEFORE, **settings}
