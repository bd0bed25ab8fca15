"""Image data sets: where their files lie, or else where they are downloaded from."""

from __future__ import annotations

import os
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor

from probact.problems.data.image_files import read_cifar, read_idx_pair

VARIABLE = "PROBACT_DATA_DIR"
ITSELF = (".", "raw")
"""Where files lie in a data directory that is a data set's own."""
TIMEOUT = 30
"""Seconds without an answer after which a download has failed."""


class DataSet(NamedTuple):
    """Images uint8 ``(n, channels, height, width)`` and labels int64 ``(n,)`` of both splits."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


_chosen: Path | None = None
"""The directory of the innermost ``data_directory_is``."""


def data_directory() -> Path:
    """That of ``data_directory_is``, or ``PROBACT_DATA_DIR``, or else the user's cache."""
    if _chosen is not None:
        return _chosen
    if given := os.environ.get(VARIABLE):
        return Path(given).expanduser()
    import pooch

    return Path(pooch.os_cache("probact"))


@contextmanager
def data_directory_is(directory: Path) -> Iterator[None]:
    """Within, data sets are looked for in ``directory``.

    :raises ValueError: if there is no such directory.
    """
    global _chosen
    if not directory.expanduser().is_dir():
        raise ValueError(f"data directory {directory}: expected a directory, got none of that name")
    before, _chosen = _chosen, directory.expanduser().absolute()
    try:
        yield
    finally:
        _chosen = before


def load(name: str) -> DataSet:
    """The data set ``name`` from the data directory, downloaded to ``<directory>/<name>`` if it is not there.

    It is looked for in the folders that other libraries make (``SOURCES[name].folders``), then in the directory itself
    (``ITSELF``).  MNIST and Fashion-MNIST name their files alike: such a directory is taken for the one asked for.
    Read once per process and directory.

    :raises ValueError: if a file is damaged, or the download fails.
    """
    return _load(name, data_directory().absolute())


@cache
def _load(name: str, directory: Path) -> DataSet:
    source = SOURCES[name]
    for folder in (*source.folders, *ITSELF):
        if not source.missing(directory / folder):
            return source.read(directory / folder)
    try:
        return source.read(source.download(directory / name))
    except _NoDownloadError as error:
        looked = ", ".join((*source.folders, "the directory itself"))
        raise ValueError(
            f"data set {name!r}: expected {', '.join(source.missing(directory))} in {directory} (looked in {looked}), "
            f"got none and no download: point to data that you have with --data-dir or {VARIABLE} ({error})"
        ) from None


class _NoDownloadError(Exception):
    """A download that failed, and why, in one line."""


class DataFiles(ABC):
    """A data set's files.

    :ivar folders: where they may lie under the data directory, first choice first.
    """

    folders: tuple[str, ...]

    @abstractmethod
    def missing(self, folder: Path) -> list[str]:
        """Files that ``folder`` lacks, as a user would look for them."""

    @abstractmethod
    def read(self, folder: Path) -> DataSet:
        """The files of a ``folder`` that lacks none."""

    @abstractmethod
    def download(self, folder: Path) -> Path:
        """Fetch what ``folder`` lacks; returns the folder to read."""


@dataclass(frozen=True)
class IdxFiles(DataFiles):
    """Four idx files, gzipped or not, named ``train-images-idx3-ubyte`` or ``train-images.idx3-ubyte``.

    :ivar md5: of each gzipped file, images and labels of the training split, then of the test split.
    """

    folders: tuple[str, ...]
    url: str
    md5: Mapping[str, str]

    def missing(self, folder: Path) -> list[str]:
        return [f"{name}[.gz]" for name in self.md5 if _idx_file(folder, name) is None]

    def read(self, folder: Path) -> DataSet:
        images, labels, test_images, test_labels = (_idx_file(folder, name) or folder / name for name in self.md5)
        return DataSet(read_idx_pair(images, labels, 28, 28), read_idx_pair(test_images, test_labels, 28, 28))

    def download(self, folder: Path) -> Path:
        for name, md5 in self.md5.items():
            if _idx_file(folder, name) is None:
                _retrieve(f"{self.url}{name}.gz", md5, folder)
        return folder


@dataclass(frozen=True)
class CifarFiles(DataFiles):
    """CIFAR-10, binary version: training files in the order of their names, which may hold fewer than 10,000 rows."""

    folders: tuple[str, ...]
    url: str
    md5: str

    def missing(self, folder: Path) -> list[str]:
        return [f"{kind}*.bin[.gz]" for kind in ("data_batch", "test_batch") if not self._files(folder, kind)]

    def read(self, folder: Path) -> DataSet:
        splits = []
        for kind in ("data_batch", "test_batch"):
            images, labels = zip(*map(read_cifar, self._files(folder, kind)), strict=True)
            splits.append((torch.cat(images), torch.cat(labels)))
        return DataSet(*splits)

    def download(self, folder: Path) -> Path:
        """Unpacks beside, then moves file by file, the test images last: where they are, the rest is whole."""
        archive, unpacked = _retrieve(self.url, self.md5, folder), folder / "cifar-10-batches-bin"
        with TemporaryDirectory(dir=folder, prefix=".unpacking-") as beside:
            try:
                with tarfile.open(archive) as files:
                    files.extractall(beside, filter="data")
                unpacked.mkdir(exist_ok=True)
                for path in sorted(Path(beside, unpacked.name).iterdir()):
                    path.replace(unpacked / path.name)
            except (OSError, tarfile.TarError) as error:
                raise _NoDownloadError(f"{archive}: {error}") from None
        return unpacked

    @staticmethod
    def _files(folder: Path, kind: str) -> list[Path]:
        found = [path for ending in ("bin", "bin.gz") for path in folder.glob(f"{kind}*.{ending}")]
        names = {path.name.removesuffix(".gz") for path in found}
        return [path for name in sorted(names) if (path := _first_file(folder / name, folder / f"{name}.gz"))]


def _idx_file(folder: Path, name: str) -> Path | None:
    names = [name, name.replace("-idx", ".idx")]
    return _first_file(*(folder / f"{one}{ending}" for ending in ("", ".gz") for one in names))


def _first_file(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _retrieve(url: str, md5: str, folder: Path) -> str:
    """Where the file lies that ``url`` is of."""
    import pooch

    try:
        found: str = pooch.retrieve(
            url,
            known_hash=f"md5:{md5}",
            fname=url.rpartition("/")[2],
            path=folder,
            downloader=pooch.HTTPDownloader(timeout=TIMEOUT),
        )
    except (OSError, ValueError) as error:  # the network or the disk; another checksum
        if (answer := getattr(error, "response", None)) is not None:
            answer.close()  # pooch leaves the connection of a refused page open
        raise _NoDownloadError(f"{url}: {' '.join(str(error).split())}") from None
    return found


_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_MNIST_MD5 = (
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)
_FASHION_MNIST_MD5 = (
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)

SOURCES: dict[str, DataFiles] = {
    "mnist": IdxFiles(
        ("mnist", "mnist/raw", "mnist/MNIST/raw", "MNIST/raw", "MNIST"),
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        dict(zip(_IDX, _MNIST_MD5, strict=True)),
    ),
    "fashion-mnist": IdxFiles(
        ("fashion-mnist", "fashion-mnist/raw", "fashion-mnist/FashionMNIST/raw", "FashionMNIST/raw", "FashionMNIST"),
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        dict(zip(_IDX, _FASHION_MNIST_MD5, strict=True)),
    ),
    "cifar10": CifarFiles(
        (
            "cifar10",
            "cifar-10",
            "cifar-10-batches-bin",
            "cifar10/cifar-10-batches-bin",
            "cifar-10/cifar-10-batches-bin",
            "CIFAR10/cifar-10-batches-bin",
        ),
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
    ),
}
