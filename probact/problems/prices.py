"""Which prices of a step losses can tell."""

from __future__ import annotations

import torch


def check_price(price: float) -> None:
    """Refuse a price that is lost beside values of about 1, or beside which these are lost.

    Losses are values in prices, nll = r c / price + constant, of numbers of ``torch.get_default_dtype()``.  They are
    known to within eps of themselves.  Where price < eps the step's own cost c is less than the error of nll at r = 1;
    where price > 1 / eps all that r = 1 can bring is less than the error of c.

    :param price: of a step, in the unit in which the family's values are of about 1; 0 stands for the family's own.
    :raises ValueError: with the range.

    >>> check_price(1e-30)
    Traceback (most recent call last):
        ...
    ValueError: price: expected one in 1.19e-07..8.39e+06 for values of about 1, got 1e-30: losses cannot tell it
    """
    eps = torch.finfo(torch.get_default_dtype()).eps
    if price and not eps <= price <= 1 / eps:
        raise ValueError(
            f"price: expected one in {eps:.3g}..{1 / eps:.3g} for values of about 1, got {price:g}: "
            "losses cannot tell it"
        )
