import json

import numpy as np
import pytest

from probact.curves.corpus import Curves
from probact.support.checksums import sealed


def some_curves(num: int = 3, looks: int = 4, name: str = "digits") -> Curves:
    generator = np.random.default_rng(num)
    train, valid, test = generator.random((3, num, looks + 1), np.float32)
    train[:, 0] = np.nan
    lengths = np.full(num, looks)
    lengths[0] = looks - 2
    for table in (train, valid, test):
        table[0, looks - 1 :] = np.nan
    valid[0, looks - 2] = np.inf
    return Curves(name, train, valid, test, lengths, np.full(num, 20), [{"kind": "mlp", "run": i} for i in range(num)])


def assert_same(one: Curves, other: Curves) -> None:
    assert (one.name, one.settings) == (other.name, other.settings)
    for a, b in zip(one[1:-1], other[1:-1], strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_a_file_gives_back_what_was_saved_with_its_ends_and_infinities(tmp_path):
    curves = some_curves()
    curves.save(tmp_path / "digits.npz")
    assert_same(Curves.load(tmp_path / "digits.npz"), curves)
    with np.load(tmp_path / "digits.npz") as file:  # NumPy alone reads it
        assert json.loads(str(file["settings"])) == curves.settings


def test_selected_and_joined_curves_are_those_of_their_rows():
    long, short = some_curves(3, 6), some_curves(2, 4)
    joined = Curves.joined([long, short])
    assert joined.valid.shape == (5, 7)
    assert np.isnan(joined.valid[3:, 5:]).all()
    assert_same(joined.select(joined.lengths == 6), long.select(np.array([1, 2])))


def test_a_flipped_bit_anywhere_is_one_line(tmp_path):
    path = tmp_path / "digits.npz"
    some_curves().save(path)
    whole = path.read_bytes()
    for place in range(0, len(whole), len(whole) // 20):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r"digits\.npz: not a file of training curves, or a damaged one") as error:
            Curves.load(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no curves", sealed(b"no curves")])
def test_another_file_is_one_line(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match="not a file of training curves"):
        Curves.load(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"valid": np.zeros((3, 5))}, "valid|train"),
        ({"lengths": np.array([2, 4, 3])}, "valid: expected a loss at looks"),
        ({"lengths": np.array([0, 4, 4])}, "lengths: expected int64"),
        ({"num_valid": np.ones(2, np.int64)}, "num_valid: expected int64"),
        ({"settings": []}, "settings: expected 3, got 0"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, change, said):
    some_curves()._replace(**change).save(tmp_path / "x.npz")
    with pytest.raises(ValueError, match=said):
        Curves.load(tmp_path / "x.npz")
