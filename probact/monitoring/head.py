"""The trained head of a monitor: q(t|x) over looks at a curve, at any price, and what it expects of going on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self

from torch import Tensor, nn

from probact.inference.posteriors.base import HaltingDistribution, HaltingPosterior
from probact.monitoring.signals import NUM_FEATURES
from probact.support.tensor_files import load_tensors, save_tensors

AHEAD = (1, 3, 10, 30)
"""For how many more looks it says whether they will pay."""
LEVELS = (0.1, 0.5, 0.9)
"""Quantiles of the gain of going on that it gives."""
SHIPPED = Path(__file__).parent / "heads"
FORMAT = 1


class Expected(NamedTuple):
    """Of going on, for curves ``(..., N)``; the last dimension of the first two is over ``AHEAD`` and ``LEVELS``.

    :ivar pays: logit that the best of the next k looks is more than k prices below the best so far.
    :ivar gain: quantiles of the gain of going on until q halts, in prices, under ``squashed``.
    :ivar remaining: median of log(1 + looks until the best stop in hindsight).
    """

    pays: Tensor
    gain: Tensor
    remaining: Tensor


def squashed(gain: Tensor) -> Tensor:
    """sign(v) log(1 + |v|)."""
    return gain.sign() * gain.abs().log1p()


def unsquashed(gain: Tensor) -> Tensor:
    """Inverse of ``squashed``."""
    return gain.sign() * gain.abs().expm1()


class CurveHead(nn.Module):
    """A ``HaltingPosterior`` over looks, and a second output on the same memory.

    :param nu: of the prior that it is trained under; q starts near it.
    :param hidden_size: of the memory.
    :ivar said: how it was trained, where it comes from a file; ``data_sets``, with commas between them, on what.
    """

    def __init__(self, nu: float, hidden_size: int = 48) -> None:
        super().__init__()
        self.posterior = HaltingPosterior("stick-breaking", NUM_FEATURES, nu, hidden_size)
        self.expectation = nn.Linear(hidden_size, len(AHEAD) + len(LEVELS) + 1)
        self.said: dict[str, str] = {}

    def forward(self, features: Tensor) -> tuple[HaltingDistribution, Expected]:
        """``features (K, N, F)`` -> q(t|x,T) for all T, and what is expected at each look."""
        hidden, _ = self.posterior.memory(features)
        q = self.posterior.distribution(self.posterior.output(hidden).squeeze(-1))
        return q, self._expected(hidden)

    def step(self, features: Tensor, hidden: Tensor | None) -> tuple[Tensor, Expected, Tensor]:
        """One look, ``(N, F)`` -> logit of the hazard ``(N,)``, what is expected, and the next memory."""
        logit, hidden = self.posterior.step(features, hidden)
        return logit, self._expected(hidden), hidden

    def _expected(self, hidden: Tensor) -> Expected:
        pays, gain, remaining = self.expectation(hidden).split([len(AHEAD), len(LEVELS), 1], -1)
        return Expected(pays, gain.sort(-1).values, remaining.squeeze(-1))

    def save(self, path: Path, said: dict[str, str]) -> None:
        """To a file; ``said``: how it was trained, ``data_sets`` on what."""
        sizes = {"nu": self.posterior.nu, "hidden_size": self.posterior.memory.hidden_size}
        save_tensors(path, {"format": FORMAT, **sizes, "said": said, "weights": self.state_dict()})

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """A shipped head by its name, or one from a file.

        :raises ValueError: if there is neither, or the file is damaged or is something else.
        """
        path = SHIPPED / f"{source}.pt"
        if not path.exists() or Path(source).suffix:
            path = Path(source)
        if not path.is_file():
            names = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.pt")))
            raise ValueError(f"monitor: expected a file, or one of {names}, got {str(source)!r}")
        content = load_tensors(path, "head of a monitor")
        try:
            if content["format"] != FORMAT:
                raise ValueError(f"expected format {FORMAT}, got {content['format']}")
            head = cls(content["nu"], content["hidden_size"])
            head.load_state_dict(content["weights"])
            head.said = dict(content["said"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not the head of a monitor ({str(error).splitlines()[0]})") from None
        return head.eval().requires_grad_(False)
