"""Arrays that a formula is worked out on: torch's for many problems at once, numpy's or plain numbers for one.

An operation on a few numbers costs its call, and a call of numpy's costs a fifth of one of torch's, one of plain
numbers a tenth of numpy's.  So what is asked again and again about one problem is written with ``operations``, and
given any of them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

Result = TypeVar("Result")
Array = Any
"""A ``torch.Tensor``, a ``numpy.ndarray`` or a number: ``+`` and the like need no operation."""


class Operations(NamedTuple):
    """What torch and numpy spell differently; ``sum``, ``lowest``, ``highest``, ``concat`` and ``stack`` take an axis.

    :ivar at_least, at_most: of an array and a number; ``erfc``: the complementary error function.
    :ivar lower, higher: of two, entry by entry; ``columns``: along the last axis, one by one.
    :ivar stack: as ``concat``, along a new axis.
    :ivar array: of numbers and an array of whose type they are to be;
    :ivar zeros: of a shape and an array of whose type they are to be; ``arange``: of a number and such an array.
    """

    exp: Any
    log: Any
    log1p: Any
    sign: Any
    sqrt: Any
    erfc: Any
    where: Any
    at_least: Any
    at_most: Any
    sum: Any
    lowest: Any
    highest: Any
    lower: Any
    higher: Any
    columns: Any
    nan_to_num: Any
    concat: Any
    stack: Any
    array: Any
    zeros: Any
    arange: Any


TORCH = Operations(
    exp=torch.exp,
    log=torch.log,
    log1p=torch.log1p,
    sign=torch.sign,
    sqrt=torch.sqrt,
    erfc=torch.erfc,
    where=torch.where,
    at_least=torch.clamp_min,
    at_most=torch.clamp_max,
    sum=torch.sum,
    lowest=torch.amin,
    highest=torch.amax,
    lower=torch.minimum,
    higher=torch.maximum,
    columns=lambda x: x.unbind(-1),
    nan_to_num=torch.nan_to_num,
    concat=torch.cat,
    stack=torch.stack,
    array=lambda numbers, like: like.new_tensor(numbers),
    zeros=lambda shape, like: like.new_zeros(shape),
    arange=lambda num, like: torch.arange(num, device=like.device),
)
NUMPY = Operations(
    exp=np.exp,
    log=np.log,
    log1p=np.log1p,
    sign=np.sign,
    sqrt=np.sqrt,
    erfc=lambda x: torch.erfc(torch.from_numpy(x)).numpy(),
    where=np.where,
    at_least=np.maximum,
    at_most=np.minimum,
    sum=np.add.reduce,
    lowest=np.minimum.reduce,
    highest=np.maximum.reduce,
    lower=np.minimum,
    higher=np.maximum,
    columns=lambda x: np.moveaxis(x, -1, 0),
    nan_to_num=lambda x, **instead: x if np.isfinite(x).all() else np.nan_to_num(x, **instead),
    concat=np.concatenate,
    stack=lambda parts, axis=0: np.moveaxis(np.array(parts), 0, axis) if axis else np.array(parts),
    array=lambda numbers, like: np.array(numbers, like.dtype),
    zeros=lambda shape, like: np.zeros(shape, like.dtype),
    arange=lambda num, like: np.arange(num),
)


class Row(tuple[float, ...]):
    """Numbers that are one tensor ``(1, n)``."""


class Elementwise(NamedTuple):
    """Of ``Operations`` those on single entries, which numbers have too.

    As those of arrays they raise nothing: the logarithm of 0 is -inf, of what is below it NaN.
    """

    log: Any = lambda x: math.log(x) if x > 0 else (-math.inf if x == 0 else math.nan)
    log1p: Any = lambda x: math.log1p(x) if x > -1 else (-math.inf if x == -1 else math.nan)
    sign: Any = lambda x: 1.0 if x > 0 else (-1.0 if x < 0 else 0.0)
    where: Any = lambda which, x, other: x if which else other
    at_least: Any = lambda x, low: low if x < low else x
    at_most: Any = lambda x, high: high if x > high else x
    lower: Any = lambda x, y: x if x <= y or x != x else y
    higher: Any = lambda x, y: x if x >= y or x != x else y
    columns: Any = lambda row: row
    stack: Any = lambda parts, axis=0: Row(parts)


NUMBERS = Elementwise()


def operations(array: Array) -> Any:
    """Those of its kind: ``Operations``, or of a number, or a tuple of them as a row, ``Elementwise``."""
    if isinstance(array, float | tuple):
        return NUMBERS
    return NUMPY if isinstance(array, np.ndarray) else TORCH
