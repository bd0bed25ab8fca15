"""A trained optimizer as one file: rule, halting posterior and weights, and nothing that training needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from probact.inference.posteriors.base import HaltingPosterior
from probact.inference.price import price_of
from probact.rules.base import RULES, UpdateRule
from probact.rules.safeguarded import Safeguarded
from probact.stopping.base import StopRule
from probact.support.files import expanded
from probact.support.missing import MissingError
from probact.support.registry import UnknownPartError
from probact.support.tensor_files import load_tensors, save_tensors
from probact.unrolling.looks import Looks

FORMAT = "probact optimizer 1"
WEIGHTS = Path(__file__).parent.with_name("weights")
"""Where the optimizers lie that come with the package, ``NAME.pt`` and its card ``NAME.md``."""


def shipped() -> list[str]:
    """Names of the optimizers that come with the package."""
    return sorted(path.stem for path in WEIGHTS.glob("*.pt"))


@dataclass(frozen=True)
class TrainedOptimizer:
    """A rule and its halting posterior as training left them.

    :ivar rule: without the safeguard.
    :ivar options: of the rule, as ``RULES.build`` takes them.
    :ivar nu: the prior's probability to continue.
    :ivar horizon: H, the steps of the unrolls that it was trained on.
    :ivar kl_scale: what training multiplied the price of a step, -log nu, by.
    :ivar safeguard: whether the rule wore ``Safeguarded`` in training.
    :ivar stop: the stop rule that the drop-in wears unless it is given another; None: its default.
    """

    rule: UpdateRule
    options: Mapping[str, Any]
    posterior: HaltingPosterior | None
    nu: float
    horizon: int
    kl_scale: float = 1.0
    safeguard: bool = False
    stop: StopRule | None = None

    @property
    def worn_rule(self) -> UpdateRule:
        """The rule as it was trained."""
        return Safeguarded(self.rule) if self.safeguard else self.rule

    @property
    def online_posterior(self) -> HaltingPosterior | None:
        """The halting posterior, if it can be followed online."""
        return self.posterior if self.posterior is not None and self.posterior.distribution.online else None

    @property
    def looks(self) -> Looks | None:
        """How the halting posterior sees x, if it does."""
        return None if self.posterior is None else self.posterior.looks

    @property
    def head_name(self) -> str | None:
        """Kind of the halting posterior, or None."""
        return None if self.posterior is None else self.posterior.distribution.name

    def describe(self) -> str:
        """One line."""
        worn = " in the safeguard" if self.safeguard else ""
        stop = "" if self.stop is None else f", stop {self.stop.describe()}"
        return f"rule {self.rule.name}{worn}, halting {self.head_name or 'none'}, trained on {self.horizon} steps{stop}"

    def save(self, path: Path) -> None:
        """One file, which ``load`` reads back."""
        halting = None
        if self.posterior is not None:
            halting = {"name": self.head_name, "weights": self.posterior.state_dict()}
        content = {
            "format": FORMAT,
            "rule": {"name": self.rule.name, "options": dict(self.options), "weights": self.rule.state_dict()},
            "halting": halting,
            "nu": self.nu,
            "horizon": self.horizon,
            "kl_scale": self.kl_scale,
            "safeguard": self.safeguard,
            "recall": None if self.looks is None else self.looks.recall,
            "stop": None if self.stop is None else self.stop.to_json(),
        }
        save_tensors(path, content)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads without running code from the file.

        :raises ValueError: if it is not such a file, is damaged, or names a rule that is not registered.
        """
        if path.is_dir():
            raise MissingError(f"{path}: expected a file, got a folder", "exported file", path)
        content = load_tensors(path, what := "probact optimizer")
        if content.get("format") != FORMAT:
            raise ValueError(f"{path}: expected a {what} of format {FORMAT!r}, got {content.get('format')!r}")
        try:
            saved, halting, nu = content["rule"], content["halting"], content["nu"]
            rule = RULES.build(saved["name"], saved["options"])
            rule.load_state_dict(saved["weights"])
            posterior = None
            if halting is not None:
                recall = content.get("recall")
                price = price_of(nu, content.get("kl_scale", 1.0))
                looks = None if recall is None else Looks(price, recall)
                weights = halting["weights"]
                posterior = HaltingPosterior.of(rule, halting["name"], nu, looks, weights["output.weight"].shape[1])
                posterior.load_state_dict(weights)
            later: dict[str, Any] = {name: content[name] for name in ("kl_scale", "safeguard") if name in content}
            if content.get("stop") is not None:
                later["stop"] = StopRule.from_json(content["stop"])
            return cls(rule, saved["options"], posterior, nu, content["horizon"], **later)
        except UnknownPartError as error:
            raise error.within(path) from None
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{path}: not a {what} that this version can read ({reason})") from None

    @classmethod
    def load_named(cls, name: str) -> Self:
        """One that comes with the package.

        :raises ValueError: if there is none of that name.
        """
        if name not in shipped():
            choices = ", ".join(shipped()) or "none is shipped"
            raise ValueError(f"unknown optimizer {name!r}: expected a file, or one that is shipped ({choices})")
        return cls.load(WEIGHTS / f"{name}.pt")

    @classmethod
    def find(cls, source: str | Path) -> Self:
        """By the name of a shipped one, or else from a file.

        :raises ValueError: if it is neither.
        """
        if not isinstance(source, str | Path):
            raise ValueError(
                f"expected the name of a shipped optimizer ({', '.join(shipped())}) or a file, got {source!r:.60}"
            )
        if str(source) in shipped() or not expanded(source).exists():
            return cls.load_named(str(source))
        return cls.load(expanded(source))
