"""Networks that are written out, beside torch's own."""

import torch
from torch import nn

from probact.problems.modules import Summary, Traits, batch_normed, convolutional_batch_normed, gated


def test_states_are_those_of_torchs_gru(double: None) -> None:
    torch.manual_seed(0)
    theirs = nn.GRU(3, 5, batch_first=True)
    inward, onward = nn.Linear(3, 15), nn.Linear(5, 15)
    inward.load_state_dict({"weight": theirs.weight_ih_l0, "bias": theirs.bias_ih_l0})
    onward.load_state_dict({"weight": theirs.weight_hh_l0, "bias": theirs.bias_hh_l0})
    x = torch.randn(4, 6, 3)
    torch.testing.assert_close(gated(inward(x), onward), theirs(x)[0])


def test_a_summary_sees_the_whole_sequence() -> None:
    torch.manual_seed(0)
    network, x = Summary(2, 8, 3), torch.randn(4, 6, 2, requires_grad=True)
    out = network(x)
    assert out.shape == (4, 3)
    out.sum().backward()
    assert x.grad is not None
    assert bool((x.grad.abs().sum(-1) > 0).all())


def test_traits_are_products_and_offsets() -> None:
    network, places = Traits(4, 3, 2, 0.1), torch.tensor([[0, 1], [3, 2]])
    row, column = network.rows.weight.detach(), network.columns.weight.detach()
    expected = [float(row[i, 0] + column[j, 0] + row[i, 1:] @ column[j, 1:]) for i, j in places.tolist()]
    torch.testing.assert_close(network(places)[:, 0], torch.tensor(expected))


def test_batch_norm_takes_the_scale_of_a_layer_off() -> None:
    torch.manual_seed(0)
    dense, convolved = batch_normed([5, 8, 8, 2], nn.Tanh), convolutional_batch_normed(1, 8, 4, 3)
    for network, first, x in (
        (dense, dense[1], torch.randn(32, 5)),
        (convolved, convolved[0], torch.randn(32, 1, 8, 8)),
    ):
        before = network(x)
        assert isinstance(first, nn.Linear | nn.Conv2d)
        assert first.bias is not None
        with torch.no_grad():
            first.weight.mul_(7)
            first.bias.mul_(7)
        torch.testing.assert_close(network(x), before, rtol=1e-2, atol=1e-3)
        assert not list(network.buffers())
