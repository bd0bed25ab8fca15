"""Matrices whose rows and columns, or singular values, are made about equally large: directions for tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from probact.rules.base import SMALL

WIDEST = 64
"""The shorter side of a matrix that ``orthogonal`` takes: it costs 9 multiplications a coordinate for each unit."""
LEAST_ROW = 0.1
"""The least root mean square that a row or column counts with, as a share of the matrix's: some have hardly any."""
Polynomials = Sequence[tuple[float, float, float]]
"""Odd quintics a s + b s^3 + c s^5, one after the other."""
THREE: Polynomials = ((7.7534, -22.6091, 16.6947), (3.3563, -2.7251, 0.5841), (2.9592, -2.7609, 0.7997))
"""They bring .01 <= s <= 1 to within .29 of 1, the best that three can (found by minimising that)."""
NEWTON_SCHULZ: Polynomials = ((3.4445, -4.7750, 2.0315),) * 5
"""Those of Muon (Jordan et al. 2024): to between about .7 and 1.2."""


def sides(shape: torch.Size) -> tuple[int, int]:
    """Rows and columns of a tensor as a matrix: its first dimension, and all others; a vector is one row."""
    return (shape[0], shape.numel() // max(shape[0], 1)) if len(shape) > 1 else (1, shape.numel())


def is_matrix(shape: torch.Size) -> bool:
    """Whether it has more than one row and more than one column."""
    return min(sides(shape)) > 1


def has_orthogonal(shape: torch.Size) -> bool:
    """Whether ``orthogonal`` takes it."""
    return 1 < min(sides(shape)) <= WIDEST


def orthogonal_places(shapes: Sequence[torch.Size]) -> list[int]:
    """Of those that ``orthogonal`` takes."""
    return [k for k, shape in enumerate(shapes) if has_orthogonal(shape)]


def normalised(x: Tensor) -> Tensor:
    """``(L, ..., d)`` with a root mean square of 1 in the last dimension; 0 stays 0."""
    return x / x.square().mean(-1, keepdim=True).sqrt().clamp_min(SMALL**0.5)


class Evener(NamedTuple):
    """Factors that make the rows and then the columns of a matrix x about equally long: x rows columns is ``balanced``.

    One round of Sinkhorn's iteration on the squares, as in Scetbon et al. 2025 (arXiv 2502.06742, section 4); a row or
    column far shorter than the others stays shorter.  What is no matrix is normalised.

    :ivar rows: ``(L, rows, 1)``; :ivar columns: ``(L, 1, columns)``, or ``(L, 1, 1)`` of what is no matrix.
    """

    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, part: Tensor, shape: torch.Size, room: Tensor | None = None) -> Evener:
        """Of ``part (L, d_m)``, a tensor of ``shape``.

        :param room: for its squares, of the same form; what is in it is lost.
        """
        square = part.square() if room is None else torch.mul(part, part, out=room)
        square = square.unflatten(-1, sides(shape))
        of_rows = square.mean(-1, keepdim=True)
        if not is_matrix(shape):
            return cls(shortened(of_rows), torch.ones_like(of_rows))
        rows = shortened(of_rows)
        return cls(rows, shortened(rows.square().mT @ square / square.shape[-2]))

    def times(self, part: Tensor) -> Tensor:
        """``part (L, d_m)`` with these factors."""
        return (part.unflatten(-1, self.sides(part)) * self.rows * self.columns).flatten(1)

    def sides(self, part: Tensor) -> tuple[int, int]:
        """Rows and columns of ``part (L, d_m)``."""
        rows = self.rows.shape[1]
        return rows, part.shape[-1] // rows


def shortened(square: Tensor) -> Tensor:
    """1 over the root of mean squares ``(L, rows, columns)``, one of these sides being 1; small ones count as more."""
    least = LEAST_ROW**2 * square.mean((-1, -2), keepdim=True)
    return torch.maximum(square, least.clamp_min(SMALL)).rsqrt()


def balanced(parts: Sequence[Tensor], shapes: Sequence[torch.Size]) -> dict[int, Tensor]:
    """Each tensor, ``(L, d_m)``, with rows and columns of about equal length, and a root mean square of about 1."""
    return {k: Evener.of(part, shape).times(part) for k, (part, shape) in enumerate(zip(parts, shapes, strict=True))}


def orthogonal(parts: Sequence[Tensor], shapes: Sequence[torch.Size]) -> dict[int, Tensor]:
    """Place of each matrix with a side of ``WIDEST`` at most -> it, ``(L, d_m)``, with its singular values made about
    equal and a root mean square of 1.

    As in Muon, by polynomials of the matrix, here three that are best together (as each is for itself in Amsel et al.
    2025, arXiv 2505.16932).
    """
    return {
        k: normalised(part)
        for k, part in _by_size(parts, shapes, has_orthogonal, partial(orthogonalised, polynomials=THREE)).items()
    }


def equalisers(parts: Sequence[Tensor], shapes: Sequence[torch.Size]) -> dict[int, Tensor]:
    """Place of each matrix that ``orthogonal`` takes -> a matrix for its shorter side, ``(L, side, side)``, which
    brings it, and in ``equalised`` others near it, to about equal singular values.
    """
    found = _by_size(parts, shapes, has_orthogonal, _equaliser)
    return {k: found[k].unflatten(-1, (min(sides(shapes[k])),) * 2) for k in sorted(found)}


def _equaliser(x: Tensor) -> Tensor:
    """Of ``x (..., rows, columns)``: the product of the polynomials of its smaller square."""
    x = x if x.shape[-2] <= x.shape[-1] else x.mT
    x = x / x.square().sum((-1, -2), keepdim=True).sqrt().clamp_min(SMALL**0.5)
    square = x @ x.mT
    one = torch.eye(square.shape[-1], dtype=x.dtype, device=x.device)
    whole = one
    for a, b, c in THREE:
        factor = a * one + b * square + c * square @ square
        whole, square = factor @ whole, factor @ square @ factor
    return whole


def equalised(part: Tensor, shape: torch.Size, equaliser: Tensor) -> Tensor:
    """``part (L, d_m)``, a matrix of ``shape``, times its ``equaliser (L, side, side)``; its root mean square is 1."""
    rows, columns = sides(shape)
    x = part.unflatten(-1, (rows, columns))
    return normalised((equaliser @ x if rows <= columns else x @ equaliser).flatten(1))


def _by_size(
    parts: Sequence[Tensor],
    shapes: Sequence[torch.Size],
    takes: Callable[[torch.Size], bool],
    change: Callable[[Tensor], Tensor],
) -> dict[int, Tensor]:
    """``change`` of what it takes, all matrices of one size at once, ``(L, number, rows, columns)``."""
    places: dict[tuple[int, int], list[int]] = {}
    for k, shape in enumerate(shapes):
        if takes(shape):
            places.setdefault(sides(shape), []).append(k)
    changed: dict[int, Tensor] = {}
    for size, group in places.items():
        alike = [parts[k].unflatten(-1, size).unsqueeze(1) for k in group]
        together = change(alike[0] if len(alike) == 1 else torch.cat(alike, 1)).flatten(2)
        changed.update(zip(group, together.unbind(1), strict=True))
    return changed


def orthogonalised(x: Tensor, polynomials: Polynomials) -> Tensor:
    """``x (..., rows, columns)`` with its singular values, over the root of their sum of squares, put into
    ``polynomials``: near 1, but for those far below a hundredth; 0 stays 0.
    """
    rows, columns = x.shape[-2:]
    x = x if rows <= columns else x.mT
    x = x / x.square().sum((-1, -2), keepdim=True).sqrt().clamp_min(SMALL**0.5)
    for a, b, c in polynomials:
        product = x @ x.mT
        x = a * x + (b * product + c * product @ product) @ x
    return x if rows <= columns else x.mT
