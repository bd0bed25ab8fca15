from __future__ import annotations

import torch

from probact.support.ranks import Ranks
from tests.helpers.properties import assert_ranks_add_up


def test_what_the_ranks_found_is_what_one_would_find() -> None:
    torch.manual_seed(0)
    assert_ranks_add_up(Ranks)
