"""Made once, in pieces, in processes and on a cluster: the same curves; what was made stays."""

import os

import pytest

from probact.curves.corpus import Curves
from probact.curves.making import here, in_processes, make, on_cluster
from probact.curves.recipes import RECIPES, TOGETHER
from tests.helpers.curves import Deadly, Toy, assert_same, some_curves

COUNT = 2 * TOGETHER + 3
QUICK = 3
"""A seed under which the first groups of iris-linear have few steps."""


def silent(line: str) -> None:
    pass


def made(folder, recipes, workers=here, count=COUNT, seed=1):
    make(recipes, folder, seed, count, workers, silent)
    return [Curves.load(folder / f"{recipe.name}.npz") for recipe in recipes]


def test_a_file_holds_the_first_curves_of_its_groups(tmp_path):
    [curves] = made(tmp_path, [Toy()])
    assert_same(curves, Curves.joined([Toy().group(1, index) for index in range(3)]).select(slice(COUNT)))
    assert [path.name for path in tmp_path.iterdir()] == ["toy.npz"]


def test_what_was_made_before_the_cut_is_not_made_again(tmp_path):
    recipes = [Toy("a"), Toy("b")]

    def cut_off(jobs):
        for number, done in enumerate(here(jobs)):
            if number == 4:
                raise KeyboardInterrupt
            yield done

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "cut", recipes, cut_off)
    asked = []

    def noted(jobs):
        asked.extend((job.recipe.name, job.group) for job in jobs)
        return here(jobs)

    for one, other in zip(made(tmp_path / "cut", recipes, noted), made(tmp_path / "whole", recipes), strict=True):
        assert_same(one, other)
    assert asked == [("b", 1), ("b", 2)]


def test_a_killed_process_loses_nothing(tmp_path):
    [curves] = made(tmp_path, [Deadly(tmp_path, 1)], in_processes(1))
    assert (tmp_path / "died-0").exists()
    [expected] = made(tmp_path / "calm", [Deadly(tmp_path, 0)])
    assert_same(curves, expected)


def test_processes_that_are_always_killed_end_in_one_line_and_keep_what_was_made(tmp_path):
    with pytest.raises(ValueError, match="a process was killed before it had made anything"):
        made(tmp_path, [Deadly(tmp_path, 9)], in_processes(1))
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["deadly-1-0.npz"]


def test_one_and_two_processes_make_the_same_numbers(tmp_path):
    recipe = RECIPES["iris-linear"]
    one = recipe.group(QUICK, 0), recipe.group(QUICK, 1)
    [two] = made(tmp_path, [recipe], in_processes(2), count=2 * TOGETHER, seed=QUICK)
    assert_same(Curves.joined(one), two)


def test_a_group_is_a_function_of_its_numbers():
    recipe = RECIPES["iris-linear"]
    one, again, other = recipe.group(QUICK, 0), recipe.group(QUICK, 0), recipe.group(QUICK, 1)
    assert_same(one, again)
    assert one.settings[0]["rate"] != other.settings[0]["rate"]
    assert one.num == TOGETHER


def test_files_of_another_seed_count_or_content_are_kept_and_named(tmp_path):
    made(tmp_path, [Toy()])
    with pytest.raises(ValueError, match=rf"toy\.npz: expected {COUNT} curves of seed 2, got {COUNT} of seed 1"):
        made(tmp_path, [Toy()], seed=2)
    with pytest.raises(ValueError, match=rf"toy\.npz: expected 5 curves of seed 1, got {COUNT} of seed 1"):
        made(tmp_path, [Toy()], count=5)
    some_curves(COUNT, name="toy")._replace(settings=[{}] * COUNT).save(tmp_path / "toy.npz")
    with pytest.raises(ValueError, match=rf"toy\.npz: expected {COUNT} curves of seed 1, got {COUNT} of seed none"):
        made(tmp_path, [Toy()])
    (tmp_path / "toy.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"toy\.npz: not a file of training curves"):
        made(tmp_path, [Toy()])


def test_no_data_directory_is_needed_where_no_data_are(tmp_path, monkeypatch):
    monkeypatch.setenv("PROBACT_DATA_DIR", str(tmp_path / "none"))
    [curves] = made(tmp_path / "made", [Toy()], in_processes(1))
    assert curves.num == COUNT
    assert not (tmp_path / "none").exists()


@pytest.mark.filterwarnings("default")
def test_a_local_cluster_needs_none_either(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setenv("PROBACT_DATA_DIR", str(tmp_path / "none"))
    [curves] = made(tmp_path / "made", [Toy()], on_cluster("local", 1), count=TOGETHER)
    assert curves.num == TOGETHER


@pytest.mark.filterwarnings("default")
def test_a_local_cluster_makes_the_same_and_survives_a_killed_worker(tmp_path):
    pytest.importorskip("distributed")
    [curves] = made(tmp_path, [Deadly(tmp_path, 1)], on_cluster("local", 1))
    assert (tmp_path / "died-0").exists()
    assert_same(curves, made(tmp_path / "calm", [Deadly(tmp_path, 0)])[0])


@pytest.mark.filterwarnings("default")
def test_no_scheduler_at_an_address_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setitem(os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
    with pytest.raises(ValueError, match=r"cluster tcp://127\.0\.0\.1:9: expected a Dask scheduler, got none"):
        made(tmp_path, [Toy()], on_cluster("tcp://127.0.0.1:9", 1))


def test_a_half_written_part_is_not_taken_for_one(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / ".toy-1-0.npz-77").write_bytes(b"half")
    made(tmp_path, [Toy()])
    assert [path.name for path in tmp_path.iterdir()] == ["toy.npz"]


def test_a_damaged_part_is_made_again(tmp_path):
    [whole] = made(tmp_path / "whole", [Toy()])
    folder = tmp_path / "cut" / "parts"
    folder.mkdir(parents=True)
    for group in range(2):
        Toy().group(1, group).save(folder / f"toy-1-{group}.npz")
    damaged = bytearray((folder / "toy-1-0.npz").read_bytes())
    damaged[200] ^= 1
    (folder / "toy-1-0.npz").write_bytes(damaged)
    asked, said = [], []

    def noted(jobs):
        asked.extend(job.group for job in jobs)
        return here(jobs)

    make([Toy()], tmp_path / "cut", 1, COUNT, noted, said.append)
    assert asked == [0, 2]
    assert said[0].startswith("made again: ")
    assert "toy-1-0.npz: not a file of training curves, or a damaged one" in said[0]
    assert_same(Curves.load(tmp_path / "cut" / "toy.npz"), whole)


def test_curves_that_others_made_are_read_beside(tmp_path):
    some_curves(name="mine").save(tmp_path / "mine.npz")
    made(tmp_path, [Toy()])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.npz", "toy.npz"]
