from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.heads import head_file

os.environ.setdefault("KERAS_BACKEND", "torch")


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    """A head that never stops by itself."""
    return head_file(tmp_path, -30.0)


@pytest.fixture
def hasty(tmp_path: Path) -> Path:
    """A head that stops as soon as it may, at look 2."""
    return head_file(tmp_path, 30.0)
