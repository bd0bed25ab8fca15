"""The loss of a step, from wherever a loop hands it over: a closure, ``step(loss)``, or part by part before it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from probact.drop_in.loss import read_loss


class TakesLoss(torch.optim.Optimizer):
    """A ``torch.optim.Optimizer`` that wants to know the loss of its step."""

    _added: Tensor | None = None

    def add_loss(self, loss: Any) -> None:
        """Tell beside ``backward`` what it is called on, for a ``step()`` without a loss.

        Several before a step are added up, as their gradients are.  They are what counts then, whatever a closure
        returns.  ``zero_grad`` forgets them; so a step that a ``GradScaler`` leaves out does no harm.

        :param loss: at the current parameters, in its own units (not as a ``GradScaler`` scaled it): a number, a tensor
            or a dict with "loss".
        :raises ValueError: if there is no loss of one real number in it.
        """
        part = read_loss(loss, "add_loss")
        part = part.to(torch.promote_types(part.dtype, torch.float32))
        self._added = part if self._added is None else self._added + part.to(self._added)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As in ``torch.optim``; what ``add_loss`` was told goes with the gradients."""
        self._added = None
        super().zero_grad(set_to_none)

    def _hands_nothing(self, closure: Any, loss: Any) -> bool:
        """Whether no way is taken.

        :raises ValueError: if two are.
        """
        if loss is not None and (closure is not None or self._added is not None):
            other = "a closure" if closure is not None else "add_loss"
            raise ValueError(f"step: expected the loss once, got loss= and {other}")
        return closure is None and loss is None and self._added is None

    def _handed(self, closure: Any, loss: Any) -> tuple[Any, Tensor | None]:
        """What ``step`` gives back, and the loss ``(1,)``; None: the closure left its batch out, without gradients.

        :raises ValueError: if there is no loss in it.
        """
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        added, self._added = self._added, None
        if added is not None:
            return added.reshape(()) if loss is None else loss, added
        if loss is None and all(param.grad is None for group in self.param_groups for param in group["params"]):
            return None, None
        return loss, read_loss(loss, "step(loss=...)" if closure is None else "the closure's loss")
