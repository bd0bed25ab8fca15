from __future__ import annotations

import dataclasses
import gc
import gzip
import hashlib
import os
import socket
import tarfile
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from probact.problems.data import sets
from probact.problems.data.sets import ITSELF, SOURCES, VARIABLE, data_directory, data_directory_is, load
from tests.helpers.small_images import TEST, TRAIN, cifar, idx, images, write, write_cifar_set, write_idx_set

IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
SHAPES = {"mnist": (1, 28, 28), "fashion-mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
LAYOUTS = [(name, folder) for name, source in SOURCES.items() for folder in (*source.folders, *ITSELF)]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data directory."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def write_set(name: str, folder: Path, suffix: str = ".gz") -> None:
    (write_cifar_set if name == "cifar10" else write_idx_set)(folder, suffix)


def refused(name: str, *words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words follow
        load(name)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_every_layout_that_people_have_is_listed() -> None:
    assert set(SHAPES) == set(SOURCES)
    assert {"MNIST", "MNIST/raw", "mnist"} <= set(SOURCES["mnist"].folders)
    assert {"FashionMNIST", "FashionMNIST/raw", "fashion-mnist"} <= set(SOURCES["fashion-mnist"].folders)
    assert {"cifar-10-batches-bin", "cifar-10", "cifar10"} <= set(SOURCES["cifar10"].folders)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("name", "folder"), LAYOUTS)
def test_layouts(name: str, folder: str, suffix: str, directory: Path) -> None:
    write_set(name, directory / folder, suffix)
    shape = SHAPES[name]
    for split, num, seed in (("train", TRAIN, 0), ("test", TEST, 100)):
        found, labels = getattr(load(name), split)
        expected, classes = images(
            num, *(shape if name == "cifar10" else shape[1:]), seed=(3 if name == "cifar10" else 1) + seed
        )
        assert torch.equal(found, expected.reshape(num, *shape))
        assert torch.equal(labels, classes)
        assert (found.dtype, labels.dtype) == (torch.uint8, torch.int64)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_named_with_a_dot(suffix: str, directory: Path) -> None:
    write_idx_set(directory / "MNIST", suffix)
    for path in list((directory / "MNIST").iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert torch.equal(load("mnist").train[0].squeeze(1), images(TRAIN, 28, 28, seed=1)[0])


@pytest.mark.parametrize("ending", ["bin.part", "bin.crdownload", "bin.gz.part", "bin.tmp"])
def test_a_download_on_its_way_is_left_alone(ending: str, directory: Path) -> None:
    write_cifar_set(directory)
    write(directory / f"data_batch_3.{ending}", bytes(40 * 3073))
    write_idx_set(directory / "mnist")
    write(directory / "mnist" / f"{IMAGES}.{ending}", b"half")
    assert len(load("cifar10").train[0]) == len(load("mnist").train[0]) == TRAIN


def test_the_set_of_a_named_folder_goes_before_a_flat_one(directory: Path) -> None:
    write_idx_set(directory, seed=5)
    write_idx_set(directory / "FashionMNIST" / "raw", seed=6)
    assert torch.equal(load("mnist").train[0].squeeze(1), images(TRAIN, 28, 28, seed=5)[0])
    assert torch.equal(load("fashion-mnist").train[0].squeeze(1), images(TRAIN, 28, 28, seed=6)[0])


def test_cifar_planes_are_red_green_blue(directory: Path) -> None:
    row = bytes([7]) + bytes([1] * 1024 + [2] * 1024 + [3] * 1024)
    for kind in ("data_batch_1", "test_batch"):
        write(directory / f"{kind}.bin", row)
    (pixels, labels), _ = load("cifar10")
    assert labels.tolist() == [7]
    assert [pixels[0, plane].unique().tolist() for plane in range(3)] == [[1], [2], [3]]


def test_read_once_a_directory(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx_set(directory / "mnist")
    assert load("mnist") is load("mnist")
    write_idx_set(tmp_path / "other", seed=9)
    with data_directory_is(tmp_path / "other"):
        assert data_directory() == tmp_path / "other"
        assert torch.equal(load("mnist").test[0].squeeze(1), images(TEST, 28, 28, seed=109)[0])
        with pytest.raises(ValueError, match="got none of that name"), data_directory_is(tmp_path / "nowhere"):
            pass
    assert data_directory() == directory == Path(os.environ[VARIABLE])


FAULTS = {
    "a truncated gzip": (IMAGES + ".gz", lambda good: gzip.compress(good)[:-200], ["whole gzip", "damaged"]),
    "no gzip": (IMAGES + ".gz", lambda good: good, ["whole gzip", "Not a gzipped file"]),
    "another magic number": (IMAGES, lambda good: idx(torch.zeros(3)), ["2051", "2049"]),
    "a page of HTML": (LABELS, lambda good: b"<!DOCTYPE html>", ["2049", str(0x3C21444F)]),
    "half a header": (IMAGES, lambda good: good[:10], ["16 bytes", "got 10"]),
    "other dimensions": (
        TEST_IMAGES,
        lambda good: idx(torch.zeros(TEST, 32, 32)),
        ["N x 28 x 28", f"{TEST} x 32 x 32"],
    ),
    "no images": (IMAGES, lambda good: idx(torch.zeros(0, 28, 28)), ["N x 28 x 28", "0 x 28 x 28"]),
    "missing pixels": (IMAGES, lambda good: good[:-1], [str(TRAIN * 784), str(TRAIN * 784 - 1)]),
    "too few labels": (LABELS, lambda good: idx(torch.zeros(7)), [f"expected {TRAIN} labels", IMAGES, "got 7"]),
    "a label of 10": (TEST_LABELS, lambda good: idx(torch.full((TEST,), 10)), ["expected labels 0..9, got 10"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_idx_files(fault: str, directory: Path) -> None:
    name, spoil, words = FAULTS[fault]
    write_idx_set(directory, "")
    path = directory / name
    good = directory / name.removesuffix(".gz")
    content = spoil(good.read_bytes())  # type: ignore[no-untyped-call]
    good.unlink()
    path.write_bytes(content)
    refused("mnist", f"{path}: expected", *words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["multiple of 3073", "got 0"]),
        (b"\0" * 3072, ["multiple of 3073", "got 3072"]),
        (cifar(*images(2, 3, 32, 32, seed=0))[:-1], ["multiple of 3073", "got 6145"]),
        (bytes([11]) + b"\0" * 3072, ["labels 0..9, got 11"]),
    ],
)
def test_faulty_cifar_files(content: bytes, words: list[str], directory: Path) -> None:
    write_cifar_set(directory)
    path = directory / "data_batch_2_first80.bin.gz"
    write(path, content)
    refused("cifar10", f"{path}: expected", *words)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address and folder of a server on this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}/", folder
        running.shutdown()
        thread.join()
    with warnings.catch_warnings():  # pooch leaves the connection of a failed download to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def served(name: str, address: str, folder: Path) -> Any:
    """The source of ``name`` with that server's address and checksums."""

    def md5(path: Path) -> str:
        return hashlib.md5(path.read_bytes()).hexdigest()

    source: Any = SOURCES[name]
    if name == "cifar10":
        write_cifar_set(folder / "cifar-10-batches-bin", "")
        path = folder / "cifar-10-binary.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder / "cifar-10-batches-bin", "cifar-10-batches-bin")
        return dataclasses.replace(source, url=address + path.name, md5=md5(path))
    write_idx_set(folder)
    return dataclasses.replace(source, url=address, md5={stem: md5(folder / f"{stem}.gz") for stem in source.md5})


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_absent_is_downloaded(
    name: str, directory: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, name, served(name, *server))
    images, labels = load(name).train
    assert (len(images), len(labels)) == (TRAIN, TRAIN)
    assert [path.name for path in directory.iterdir()] == [name]
    monkeypatch.setitem(SOURCES, name, dataclasses.replace(SOURCES[name], url="http://127.0.0.1:1/"))  # type: ignore[type-var]
    sets._load.cache_clear()
    assert torch.equal(load(name).train[0], images)  # from the folder, the second time


def test_an_interrupted_unpacking_is_done_again(
    directory: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full before the last file is there; the next time it is not."""
    monkeypatch.setitem(SOURCES, "cifar10", served("cifar10", *server))
    replace = Path.replace

    def full(path: Path, target: Path) -> Path:
        if path.name == "test_batch.bin":
            raise OSError(28, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", full)
    refused("cifar10", "No space left")
    monkeypatch.setattr(Path, "replace", replace)
    assert [len(split[0]) for split in load("cifar10")] == [TRAIN, TEST]
    assert not list((directory / "cifar10").glob(".*"))


def test_files_that_are_there_stay_as_they_are(
    directory: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "mnist", served("mnist", *server))
    pixels, _ = images(TRAIN, 28, 28, seed=77)
    write(directory / "mnist" / f"{IMAGES}.gz", idx(pixels))
    assert torch.equal(load("mnist").train[0].squeeze(1), pixels)


@pytest.mark.parametrize("name", SOURCES)
def test_a_download_with_another_checksum_is_refused(
    name: str, directory: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = served(name, *server)
    wrong = "0" * 32 if name == "cifar10" else {**source.md5, TEST_LABELS: "0" * 32}
    monkeypatch.setitem(SOURCES, name, dataclasses.replace(source, md5=wrong))
    refused(name, str(directory), "does not match", "0" * 32, "--data-dir", VARIABLE)
    assert not list(directory.rglob("t10k-labels*"))
    assert not list(directory.rglob("*.bin"))


@pytest.mark.parametrize("name", SOURCES)
def test_no_network_is_one_line(name: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    monkeypatch.setitem(SOURCES, name, dataclasses.replace(SOURCES[name], url=f"{address}file"))  # type: ignore[type-var]
    expected = ["data_batch*.bin", "test_batch*.bin"] if name == "cifar10" else [IMAGES, TEST_LABELS]
    refused(name, repr(name), str(directory), address, *expected, *SOURCES[name].folders, "--data-dir", VARIABLE)


def test_a_missing_page_is_one_line(directory: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "mnist", dataclasses.replace(SOURCES["mnist"], url=server[0]))  # type: ignore[type-var]
    refused("mnist", "404", IMAGES, str(directory))
