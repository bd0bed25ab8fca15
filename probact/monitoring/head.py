"""The trained head of a monitor: q(t|x) over looks at a curve, at any price, and what it expects of going on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
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
    :ivar said: how it was trained, where it comes from a file; ``sets``, with commas between them, on what curves.
    """

    def __init__(self, nu: float, hidden_size: int = 32) -> None:
        super().__init__()
        self.posterior = HaltingPosterior("stick-breaking", NUM_FEATURES, nu, hidden_size)
        self.expectation = nn.Linear(hidden_size, len(AHEAD) + len(LEVELS) + 1)
        self.said: dict[str, str] = {}

    def forward(self, features: Tensor) -> tuple[HaltingDistribution, Expected]:
        """``features (K, N, F)`` -> q(t|x,T) for all T, and what is expected at each look."""
        hidden, _ = self.posterior.memory(features)
        q = self.posterior.distribution(self.posterior.output(hidden).squeeze(-1))
        return q, self.expected(hidden)

    def expected(self, hidden: Tensor) -> Expected:
        """What the memory ``(..., N, hidden_size)`` expects."""
        pays, gain, remaining = self.expectation(hidden).split([len(AHEAD), len(LEVELS), 1], -1)
        return Expected(pays, gain.sort(-1).values, remaining.squeeze(-1))

    def save(self, path: Path, said: dict[str, str]) -> None:
        """To a file; ``said``: how it was trained, ``sets`` on what curves."""
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
            raise ValueError(f"head of a monitor: expected a file, or one of {names}, got {str(source)!r}")
        content = load_tensors(path, "head of a monitor")
        try:
            if content.get("format") != FORMAT:
                raise ValueError(f"expected format {FORMAT}, got {content.get('format')}")
            head = cls(content["nu"], content["hidden_size"])
            head.load_state_dict(content["weights"])
            head.said = dict(content["said"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not the head of a monitor ({str(error).splitlines()[0]})") from None
        return head.eval().requires_grad_(False)


class OnlineHead:
    """A head followed look by look in NumPy, where a step of ``nn.GRU`` costs more than all else.

    The gated recurrent unit is that of PyTorch's documentation (``torch.nn.GRU``):
    r, z = sigmoid(W x + U h + b),  n = tanh(W_n x + b_n + r (U_n h + c_n)),  h' = (1 - z) n + z h.
    """

    def __init__(self, head: CurveHead) -> None:
        self.head = head
        memory, output = head.posterior.memory, head.posterior.output
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        self._input, self._state, self._input_bias, self._state_bias = (
            _numpy(memory.get_parameter(name)).T for name in names
        )
        self._output, self._output_bias = _numpy(output.weight)[0], float(output.bias)

    def init(self, num: int) -> NDArray[np.float32]:
        """The memory of ``num`` curves before a look."""
        return np.zeros((num, len(self._state)), dtype=np.float32)

    def step(
        self, features: NDArray[np.float32], hidden: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """One look at N curves, ``(N, F)`` -> the hazard lambda ``(N,)`` and the next memory."""
        size = hidden.shape[1]
        x = features @ self._input + self._input_bias
        h = hidden @ self._state + self._state_bias
        gates = 1 / (1 + np.exp(-(x[:, : 2 * size] + h[:, : 2 * size])))
        new = np.tanh(x[:, 2 * size :] + gates[:, :size] * h[:, 2 * size :])
        hidden = new + gates[:, size:] * (hidden - new)
        logit = (hidden @ self._output + self._output_bias).astype(np.float64)
        return 1 / (1 + np.exp(-logit)), hidden

    def expected(self, hidden: NDArray[np.float32]) -> Expected:
        """``CurveHead.expected``."""
        with torch.inference_mode():
            return self.head.expected(torch.from_numpy(hidden))


def _numpy(weight: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(weight.detach().float().numpy())
