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


@pytest.mark.parametrize("content", [b"", b"no curves", sealed(b"no curves"), b"# probact\n\nSome words.\n" * 9])
def test_another_file_is_one_line(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"not a file of training curves, or a damaged one \(it is no \.npz\)"):
        Curves.load(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("change", "said"),
    [({}, r"there is no 'name' in it"), ({"valid": np.array([1.0, None])}, "it holds Python objects")],
)
def test_another_archive_is_said_in_plain_words(tmp_path, change, said):
    content = {**some_curves()._asdict(), "settings": "[]", **change} if change else {"x": np.zeros(3)}
    np.savez(tmp_path / "x.npz", **content)
    with pytest.raises(ValueError, match=rf"x\.npz: not a file of training curves, or a damaged one \({said}"):
        Curves.load(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"valid": np.zeros((3, 5))}, "valid|train"),
        ({"lengths": np.array([2, 4, 3])}, "valid: expected a loss or inf at looks"),
        ({"valid": [[1.0, 0.5]]}, r"valid: expected float32 \(N, K \+ 1\) .*, got list"),
        ({"train": np.zeros(3)}, r"train: expected float32 \(3, 5\), got float64 \(3,\)"),
        ({"test": None}, r"test: expected float32 \(3, 5\), got NoneType"),
        ({"lengths": np.array([0, 4, 4])}, "lengths: expected int64"),
        ({"lengths": np.array([2, 4, 5])}, "lengths: expected 4 at most, got 5"),
        ({"num_valid": np.ones(2, np.int64)}, "num_valid: expected int64"),
        ({"settings": []}, "settings: expected 3, got 0"),
        ({"settings": [None] * 3}, "settings: expected a list of dicts"),
        ({"valid": np.full((3, 5), np.nan, np.float32)}, "valid: expected a loss or inf at looks"),
        ({"test": np.full((3, 5), -np.inf, np.float32)}, "test: expected a loss or inf at looks"),
        (some_curves().select(slice(0))._asdict(), "valid: expected .* of a curve or more"),
    ],
)
def test_tables_that_do_not_fit_are_neither_saved_nor_loaded(tmp_path, monkeypatch, change, said):
    path, curves = tmp_path / "x.npz", some_curves()._replace(**change)
    with pytest.raises(ValueError, match=rf"x\.npz: not saved: {said}") as error:
        curves.save(path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(Curves, "_check", lambda curves: None)
    if change.get("test", 0) is not None:
        curves.save(path)
        monkeypatch.undo()
        with pytest.raises(ValueError, match=r"x\.npz: not a file of training curves"):
            Curves.load(path)


def test_settings_that_json_cannot_hold_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"x\.npz: not saved: .*int64 is not JSON serializable"):
        some_curves()._replace(settings=[{"seed": np.int64(3)}] * 3).save(tmp_path / "x.npz")


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
    curves.valid[:, 0] = [np.inf, 4, 0]
    assert curves.median_fall == 0.75  # of the one whose first loss can be shared out
    curves.valid[1, 0] = 0
    assert np.isnan(curves.median_fall)


def test_curves_that_others_made_need_no_seed():
    assert some_curves(seed=3).seeds == [3]
    assert some_curves()._replace(settings=[{}] * 3).seeds == []
    of_all_types = [{"seed": seed} for seed in ("b", 10, [1], 9, None, 10)]
    assert some_curves(6)._replace(settings=of_all_types).seeds == [9, "b", 10, [1], None]


def test_the_sample_that_ships_is_whole_small_and_of_both_sorts():
    folder = Path(corpus.__file__).parent / "sample"
    found = list(load_folder(folder))
    assert [curves.num for curves in found] == [50] * 10
    assert sum(RECIPES[curves.name].held_out for curves in found) == 5
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3e6
