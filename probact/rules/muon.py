"""Muon: momentum with its singular values made about equal, for matrices; AdamW for the rest."""

from __future__ import annotations

import math

from torch import Tensor

from probact.rules.base import RULES
from probact.rules.hand_designed import AdamW
from probact.rules.matrices import NEWTON_SCHULZ, is_matrix, orthogonalised, sides
from probact.support.refusals import check_range
from probact.support.trees import Params, State, map_params


@RULES.register("muon")
class Muon(AdamW):
    """Orthogonalised Nesterov momentum for hidden matrices, ``adamw`` for the rest (Jordan et al. 2024).

    With M <- momentum M + (1 - momentum) g and N = (1 - momentum) g + momentum M, a matrix of A rows and B columns
    goes by::

        -lr (.2 sqrt(max(A, B)) orthogonalised(N) + weight_decay theta)

    The factor makes its steps as long as those of AdamW, so that one ``lr`` serves both (Liu et al. 2025, equation 4);
    ``torch.optim.Muon`` calls it ``match_rms_adamw``.  A filter is a matrix of its outputs.  Vectors go by ``adamw``,
    and so does the last matrix, as the output layer does with its authors.
    """

    usual = False

    def __init__(
        self,
        lr: float = 0.05,
        momentum: float = 0.95,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(lr, beta1, beta2, eps, weight_decay)
        check_range(self.label, at_least=0, below=1, momentum=momentum)
        self.momentum = momentum

    def init(self, params: Params) -> State:
        momenta = map_params(lambda theta: theta.new_zeros(theta.shape), hidden_matrices(params))
        return super().init(_rest(params)), momenta

    def update(self, grads: Params, state: State, params: Params) -> tuple[Params, State]:
        of_rest, momenta = state
        hidden = hidden_matrices(grads)
        momenta = map_params(lambda m, g: m.lerp(g, 1 - self.momentum), momenta, hidden)
        steps = map_params(self._step, momenta, hidden, hidden_matrices(params))
        rest, of_rest = super().update(_rest(grads), of_rest, _rest(params))
        return {name: steps[name] if name in steps else rest[name] for name in grads}, (of_rest, momenta)

    def _step(self, momentum: Tensor, grad: Tensor, theta: Tensor) -> Tensor:
        matrix = sides(grad.shape[1:])
        ahead = grad.lerp(momentum, self.momentum).reshape(len(grad), *matrix)
        size = 0.2 * math.sqrt(max(matrix))
        return -self.lr * (size * orthogonalised(ahead, NEWTON_SCHULZ).reshape(grad.shape) + self.weight_decay * theta)


def hidden_matrices(params: Params) -> Params:
    """All matrices and filters but the last."""
    matrices = [name for name, tensor in params.items() if is_matrix(tensor.shape[1:])]
    return {name: params[name] for name in matrices[:-1]}


def _rest(params: Params) -> Params:
    hidden = hidden_matrices(params)
    return {name: tensor for name, tensor in params.items() if name not in hidden}
