"""Every data set and every kind of model, on two short curves."""

import numpy as np
import pytest
import torch
from torch import nn

from probact.curves.data_sets.base import DATA_SETS, HELD_OUT
from probact.curves.kinds import KINDS
from probact.curves.knobs import Knobs
from probact.curves.recipes import RECIPES, chosen
from probact.problems.modules import Recurrent, Transformer

FORMS = {"classes": "iris", "values": "diabetes", "images": "shifted-digits", "text": "markov", "ratings": "ratings"}


@pytest.mark.parametrize("kind", tuple(KINDS))
def test_two_short_runs_of_each_kind_on_each_form_that_it_takes(kind):
    knobs = Knobs("adam", "constant", 8, 100, 20, 0.1, 0.0, 1.0, looks=3, every=1)
    for form in KINDS[kind].takes:
        points = DATA_SETS.build(FORMS[form]).points(np.random.default_rng(0))
        runs = KINDS.build(kind).run(points, knobs, 2, np.random.default_rng(1))
        assert runs.losses.valid.shape == runs.losses.test.shape == runs.losses.train.shape == (2, 4)
        assert np.isfinite(runs.losses.valid).all()
        assert np.isfinite(runs.losses.train[:, 1:]).all()
        assert not np.array_equal(runs.losses.valid[0], runs.losses.valid[1])
        assert runs.num_valid == 20
        assert [setting["train_size"] for setting in runs.settings] == [min(100, 3 * len(points.x) // 5)] * 2


@pytest.mark.parametrize("name", tuple(DATA_SETS))
def test_points_of_each_data_set(name):
    points = DATA_SETS.build(name).points(np.random.default_rng(3))
    assert len(points.x) == len(points.y) >= 49
    assert points.outputs >= 1
    if points.x.is_floating_point():
        assert points.x.isfinite().all()
        assert points.x.std().item() == pytest.approx(1, abs=0.3)
    if not points.y.is_floating_point():
        assert points.y.min() == 0


def test_boosting_begins_at_the_frequencies_and_at_the_mean():
    knobs = Knobs("adam", "constant", 8, 300, 20, 0.0, 0.0, 1.0, looks=2, every=1)
    classes = DATA_SETS.build("breast-cancer").points(np.random.default_rng(0))
    frequencies = torch.bincount(classes.y) / len(classes.y)
    entropy = -(frequencies * frequencies.log()).sum().item()
    found = KINDS.build("boosting").run(classes, knobs, 8, np.random.default_rng(1)).losses.test
    assert found[:, 0].mean() == pytest.approx(entropy, rel=0.1)
    values = DATA_SETS.build("diabetes").points(np.random.default_rng(0))  # of variance 1
    found = KINDS.build("boosting").run(values, knobs, 8, np.random.default_rng(1)).losses.test
    assert found[:, 0].mean() == pytest.approx(1, rel=0.15)
    assert (found[:, 2] < found[:, 0]).mean() > 0.7


def test_the_recurrent_network_is_the_gru_of_torch():
    torch.manual_seed(0)
    network, text = Recurrent(7, 6), torch.randint(7, (3, 5))
    gru = nn.GRU(6, 6, batch_first=True)
    own = (network.inward.weight, network.onward.weight, network.inward.bias, network.onward.bias)
    for theirs, ours in zip(gru.parameters(), own, strict=True):
        theirs.data.copy_(ours)
    expected = network.output(gru(network.embedding(text))[0])
    torch.testing.assert_close(network(text), expected)


def test_the_transformer_sees_no_later_character_and_attends_as_torch_does():
    torch.manual_seed(0)
    network, text = Transformer(7, 6, 5), torch.randint(7, (3, 5))
    changed = text.clone()
    changed[:, 3] = (text[:, 3] + 1) % 7
    assert torch.equal(network(text)[:, :3], network(changed)[:, :3])
    assert not torch.equal(network(text)[:, 3], network(changed)[:, 3])
    x = network.embedding(text) + network.position
    query, key, value = network.attention(network.norm(x)).chunk(3, -1)
    x = x + nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    torch.testing.assert_close(network(text), network.output(x + network.block(x)))


def test_training_and_held_out_sets_are_apart():
    training, held_out = chosen(["training"]), chosen(["held-out"])
    assert {recipe.data_set for recipe in held_out} == set(HELD_OUT)
    assert {recipe.data_set for recipe in training} == set(DATA_SETS) - set(HELD_OUT)
    assert [*training, *held_out] == chosen([])
    assert chosen(["wine-mlp", "held-out"])[0] is RECIPES["wine-mlp"]
    assert len(chosen(["wine-mlp", "held-out"])) == len(held_out)
    with pytest.raises(ValueError, match="unknown set 'digit-mlp': choose from training, held-out, digits-mlp"):
        chosen(["digit-mlp"])
