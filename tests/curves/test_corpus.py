import json
from pathlib import Path

import numpy as np
import pytest

from probact.curves import corpus
from probact.curves.corpus import Curves, load_folder
from probact.curves.recipes import RECIPES
from probact.support.checksums import sealed
from tests.helpers.curves import assert_same, some_curves


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


def test_a_folder_gives_its_files_by_name_and_refuses_one_under_another_name(tmp_path):
    for name in ("b", "a"):
        some_curves(name=name).save(tmp_path / f"{name}.npz")
    assert [curves.name for curves in load_folder(tmp_path)] == ["a", "b"]
    (tmp_path / "b.npz").rename(tmp_path / "c.npz")
    with pytest.raises(ValueError, match=r"c\.npz: expected curves of c, got those of b"):
        list(load_folder(tmp_path))


def test_an_empty_folder_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="expected files of training curves"):
        list(load_folder(tmp_path))


def test_what_diverged_and_how_far_the_loss_fell():
    curves = some_curves(3)
    curves.valid[:] = [[4, 2, np.inf, np.nan, np.nan], [4, 1, 2, 3, 8], [4, 5, 6, 7, 8]]
    assert curves.diverged.tolist() == [True, False, False]
    assert curves.median_fall == 0.5


def test_the_sample_that_ships_is_whole_small_and_of_both_sorts():
    folder = Path(corpus.__file__).parent / "sample"
    found = list(load_folder(folder))
    assert [curves.num for curves in found] == [50] * 10
    assert sum(RECIPES[curves.name].held_out for curves in found) == 5
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3e6
