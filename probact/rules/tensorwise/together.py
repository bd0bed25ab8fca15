"""Small tensors of one problem side by side in one stretch of memory, so that one operation serves all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from probact.rules.base import SMALL
from probact.rules.matrices import LEAST_ROW, has_orthogonal, is_matrix, sides
from probact.rules.tensorwise.held import Held
from probact.rules.tensorwise.memory import FAST, SLOW, SQUARE, TensorwiseMemory
from probact.rules.tensorwise.signals import stride

LANE = 16
"""Each tensor has a whole number of lanes of so many numbers; what is left over in the last one stays 0."""
MOST = 2**17
"""So many numbers in all, which stay in a processor's cache."""


def small_places(shapes: Sequence[torch.Size]) -> list[int]:
    """Which tensors are small: those whose mean products are of all their coordinates, as long as there is room; first
    those whose singular values are made equal.
    """
    found, left = [], MOST
    for k, shape in enumerate(shapes):
        if stride(shape) == 1 and shape.numel() <= left:
            found.append(k)
            left -= shape.numel()
    return sorted(found, key=lambda k: not has_orthogonal(shapes[k]))


class Together:
    """The m small tensors of a problem, with D coordinates in all.

    :ivar places: of each among all tensors; the first ``num_orthogonal`` of them have singular values made equal.
    :ivar shapes: of each.
    :ivar fast, slow, square, grad, step: ``(D,)``; likewise lists of m views ``(1, d_m)``, ``parts[name]``.
    """

    def __init__(self, shapes: Sequence[torch.Size], like: Tensor) -> None:
        self.places = small_places(shapes)
        self.shapes = [shapes[k] for k in self.places]
        self.num_orthogonal = sum(map(has_orthogonal, self.shapes))
        numel = [shape.numel() for shape in self.shapes]
        lanes = [-(-number // LANE) for number in numel]
        self._starts = [LANE * sum(lanes[:k]) for k in range(len(lanes))]
        size = LANE * sum(lanes)
        names = ("fast", "slow", "square", "grad", "step", "even", "work", "orthogonal")
        made = [like.new_zeros(size) for _ in names]  # apart, as the memory is kept and steps are lent
        self.fast, self.slow, self.square, self.grad, self.step, self._even, self._work, self._orthogonal = made
        self.parts = {name: self._split(flat) for name, flat in zip(names, made, strict=True)}
        self._orthogonal = self._orthogonal[: LANE * sum(lanes[: self.num_orthogonal])]
        self._weights = like.new_zeros(3, size)
        self._rates = like.new_zeros(len(numel), 5)
        self._taken: tuple[Tensor, Tensor] | None = None
        self._numel = like.new_tensor(numel)
        self._lanes = torch.tensor(lanes, dtype=torch.long, device=like.device)
        self._tensor_of_lane = torch.repeat_interleave(self._lanes)
        self._chosen = torch.tensor(self.places, dtype=torch.long, device=like.device)
        self._lay_out_sides(like)

    def _lay_out_sides(self, like: Tensor) -> None:
        """Rows, and the columns of matrices; each tensor has a row more, of what is left over in its last lane."""
        rows, columns = zip(*map(sides, self.shapes), strict=True) if self.shapes else ((), ())
        lengths: list[int] = []
        for row, column in zip(rows, columns, strict=True):
            lengths += [*(column,) * row, -(row * column) % LANE]
        self._row_lengths = torch.tensor(lengths, dtype=torch.long, device=like.device)
        self._columns_of_row = self._row_lengths.clamp_min(1).to(like)
        self._rows_of = [row + 1 for row in rows]
        self._num_rows = torch.tensor(self._rows_of, dtype=torch.long, device=like.device)
        self._tensor_of_row = torch.repeat_interleave(self._num_rows)
        self._matrices = [k for k, shape in enumerate(self.shapes) if is_matrix(shape)]
        self._widths = [columns[k] for k in self._matrices]
        self._num_columns = torch.tensor(self._widths, dtype=torch.long, device=like.device)
        self._columns_of = self._num_columns.to(like)
        self._matrix_of_column = torch.repeat_interleave(self._num_columns)
        self._column_sums = like.new_zeros(sum(self._widths))
        self._one = like.new_ones(1, 1, 1)

    def _split(self, flat: Tensor) -> list[Tensor]:
        return [
            flat[start : start + shape.numel()].unsqueeze(0)
            for start, shape in zip(self._starts, self.shapes, strict=True)
        ]

    def tensors(self) -> list[Tensor]:
        """All memory that it works in."""
        flat = [self.fast, self.slow, self.square, self.grad, self.step, self._even, self._work, self._orthogonal]
        return [*flat, self._weights]

    def adopt(self, memory: TensorwiseMemory) -> TensorwiseMemory:
        """``memory`` with its running means of small tensors in here."""
        for name in ("fast", "slow", "square"):
            given, own = getattr(memory, name), self.parts[name]
            if any(given[k] is not part for k, part in zip(self.places, own, strict=True)):
                parts = [*given]
                for k, part in zip(self.places, own, strict=True):
                    part.copy_(given[k])
                    parts[k] = part
                changed: dict[str, Any] = {name: tuple(parts)}
                memory = memory._replace(**changed)
        return memory

    def take_in(self, grads: Sequence[Tensor]) -> None:
        """Gradients, M times ``(1, d_m)``, into the running means."""
        for k, part in zip(self.places, self.parts["grad"], strict=True):
            part.copy_(grads[k])
        self.fast.lerp_(self.grad, 1 - FAST)
        self.slow.lerp_(self.grad, 1 - SLOW)
        self.square.mul_(SQUARE).addcmul_(self.grad, self.grad, value=1 - SQUARE)

    def made_even(self) -> tuple[list[Tensor], list[Tensor]]:
        """``rows`` and ``columns`` of ``Evener.of`` each running mean."""
        if not self.places:
            return [], []
        square = torch.mul(self.fast, self.fast, out=self._work)
        sums = _sums(square, self._row_lengths)
        whole = _sums(sums, self._num_rows) / self._numel
        rows = _shortened(sums / self._columns_of_row, whole, self._tensor_of_row)
        of_rows = [part[:-1].view(1, -1, 1) for part in rows.split(self._rows_of)]
        of_columns, squares = [self._one] * len(self.shapes), rows.square().split(self._rows_of)
        if self._matrices:
            for k, into in zip(self._matrices, self._column_sums.split(self._widths), strict=True):
                size = sides(self.shapes[k])
                torch.mv(self.parts["work"][k].view(size).mT, squares[k][:-1], out=into).div_(size[0])
            whole = _sums(self._column_sums, self._num_columns) / self._columns_of
            columns = _shortened(self._column_sums, whole, self._matrix_of_column).split(self._widths)
            for k, part in zip(self._matrices, columns, strict=True):
                of_columns[k] = part.view(1, 1, -1)
        return of_rows, of_columns

    def hold(self, held: Held, are_even: bool = False) -> None:
        """Rates, rows and columns that are held, unless they are those that it has.

        :param are_even: whether ``make_even`` was told rows and columns.
        """
        if not self.places:
            return
        now = held.rates, held.rows[self.places[0]]
        if self._taken is not None and all(a is b for a, b in zip(self._taken, now, strict=True)):
            return
        if not are_even:
            self.make_even([held.rows[place] for place in self.places], [held.columns[place] for place in self.places])
        self._taken, self._rates = now, held.rates.detach()[0, self._chosen]
        of_lanes = self._rates.mT[:4, self._tensor_of_lane].unsqueeze(-1)
        self._weights.view(3, -1, LANE).copy_(of_lanes[:3].expand(-1, -1, LANE))
        self._even.view(-1, LANE).mul_(of_lanes[3])

    def equal(self, equalisers: Sequence[Tensor]) -> Tensor:
        """The running means of matrices whose singular values are made equal, side by side."""
        flat = self._orthogonal
        if not self.num_orthogonal:
            return flat
        for k, equaliser in zip(range(self.num_orthogonal), equalisers, strict=True):
            size = rows, columns = sides(self.shapes[k])
            x, into = self.parts["fast"][k].view(size), self.parts["orthogonal"][k].view(size)
            left, right = (equaliser[0], x) if rows <= columns else (x, equaliser[0])
            torch.mm(left, right, out=into)
        lanes, number = flat.view(-1, LANE), self.num_orthogonal
        root = (_sums(lanes.square().sum(1), self._lanes[:number]) / self._numel[:number]).sqrt()
        factor = root.clamp_min(SMALL**0.5).reciprocal().nan_to_num_(0.0)  # what is left over in lanes stays 0
        lanes.mul_(factor[self._tensor_of_lane[: len(lanes)]].unsqueeze(1))
        return flat.mul_(torch.sign(self.square[: len(flat)]))

    def move(self, scale: Sequence[float], least: float, equalisers: Sequence[Tensor] | None) -> None:
        """Work out ``step``, with the rates held.

        :param scale: of the five rates; :param least: the least root of ``square``.
        :param equalisers: of the first ``num_orthogonal``; None: ``equal`` has been called.
        """
        torch.mul(self.fast, self._weights[0], out=self._work).mul_(scale[0])
        self._work.addcmul_(self.slow, self._weights[1], value=scale[1])
        self._work.addcmul_(self.grad, self._weights[2], value=scale[2])
        root = torch.sqrt(self.square, out=self.step).clamp_min_(least)
        self._work.div_(root)
        torch.mul(self.fast, self._even, out=self.step).mul_(scale[3]).add_(self._work)
        if self.num_orthogonal:
            flat = self._orthogonal if equalisers is None else self.equal(equalisers)
            of_lanes = (scale[4] * self._rates[:, 4])[self._tensor_of_lane[: len(flat) // LANE]]
            self.step[: len(flat)].view(-1, LANE).addcmul_(flat.view(-1, LANE), of_lanes.unsqueeze(1))

    def lengths(self) -> Tensor:
        """Root mean square of each step, ``(m,)``."""
        if not self.places:
            return self.step
        return (_sums(self.step.view(-1, LANE).square().sum(1), self._lanes) / self._numel).sqrt()

    def sampled(self, thetas: Sequence[Tensor], least: float) -> list[Tensor]:
        """What ``mean_products`` multiplies of each tensor: m times ``(1, 9, d_m)``.

        :param thetas: M times ``(1, d_m)``.
        """
        rows = self.fast.new_zeros(9, len(self.fast))
        rows[0], rows[1], rows[2] = self.grad, self.fast, self.slow
        for k, part in zip(self.places, self._split(rows[3]), strict=True):
            part.copy_(thetas[k])
        root = torch.sqrt(self.square, out=self._work).clamp_min_(least)
        torch.div(rows[[1, 2, 0]], root, out=rows[4:7])
        torch.mul(self.fast, self._even, out=rows[7])
        rows[8, : len(self._orthogonal)] = self._orthogonal
        return [
            rows[:, start : start + shape.numel()].unsqueeze(0)
            for start, shape in zip(self._starts, self.shapes, strict=True)
        ]

    def make_even(self, rows: Sequence[Tensor], columns: Sequence[Tensor]) -> None:
        """Products of rows and columns, before there are rates."""
        self._taken = None
        self._even.zero_()  # what is left over, too: rates that were not finite made it NaN
        for k, (row, column) in enumerate(zip(rows, columns, strict=True)):
            size = sides(self.shapes[k])
            torch.mul(row, column.expand(1, 1, size[1]), out=self.parts["even"][k].view(1, *size))


def _sums(values: Tensor, lengths: Tensor) -> Tensor:
    """Of stretches of ``values`` of these ``lengths``."""
    return torch.segment_reduce(values, "sum", lengths=lengths, unsafe=True)


def _shortened(square: Tensor, whole: Tensor, owner: Tensor) -> Tensor:
    """As ``matrices._shortened``, of the rows or columns of several tensors.

    :param whole: mean of each tensor; :param owner: of each row or column, its tensor.
    """
    least = (LEAST_ROW**2 * whole).clamp_min(SMALL)
    return torch.maximum(square, least[owner]).rsqrt()
