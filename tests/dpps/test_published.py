"""The published network and its data layout."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from scipy.io import loadmat
from torch.nn import functional as F

from reconstruct.dpps import layout
from reconstruct.dpps.dataset import PUBLISHED_RIG, published_pair
from reconstruct.dpps.drawing import scene_of
from reconstruct.dpps.published import PublishedNet, read_published
from reconstruct.dpps.samples import draw
from reconstruct.errors import ReconstructError


@pytest.fixture(scope="module")
def net() -> PublishedNet:
    torch.manual_seed(1)
    model = PublishedNet().eval()
    for module in model.modules():  # norms that do something
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.1, 0.1)
    return model


def test_its_parameters_are_counted_as_published(net: PublishedNet) -> None:
    unused = [*net.pretrained_net.fc.parameters(), *net.pretrained_net.conv1.parameters()]
    assert sum(p.numel() for p in net.parameters()) == 25_073_192
    assert sum(p.numel() for p in unused) == 522_408


def by_hand(state: dict[str, torch.Tensor], x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The published forward pass written out from its description, from the weights alone."""

    def norm(y, name):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return F.batch_norm(y, mean, var, weight, bias)

    def up(y, conv, bn):
        y = F.conv_transpose2d(y, state[f"{conv}.weight"], None, 2, 1, 1)
        return norm(y, bn).relu()

    def block(y, name, stride):
        z = F.conv2d(y, state[f"{name}.conv1.weight"], None, stride, 1)
        z = norm(z, f"{name}.bn1").relu()
        z = norm(F.conv2d(z, state[f"{name}.conv2.weight"], None, 1, 1), f"{name}.bn2")
        if f"{name}.downsample.0.weight" in state:
            y = F.conv2d(y, state[f"{name}.downsample.0.weight"], None, stride)
            y = norm(y, f"{name}.downsample.1")
        return (z + y).relu()

    x1 = F.conv2d(x, state["conv_f.weight"], None, 1, 1)
    x2 = F.max_pool2d(norm(x1, "pretrained_net.bn1").relu(), 3, 2, 1)
    y, levels = x2, []
    for stage, (blocks, stride) in enumerate(((3, 1), (4, 2), (6, 2), (3, 2)), 1):
        for b in range(blocks):
            y = block(y, f"pretrained_net.layer{stage}.{b}", stride if b == 0 else 1)
        levels.append(y)
    _, x3, x4, x5 = levels
    n5 = up(x5, "conv5", "bn5")
    n6 = up(n5 + x4, "conv6", "bn6")
    n7 = up(n6 + x3, "conv7", "bn7")
    n8 = up(n7 + x2, "conv8", "bn8")
    n9 = up(n8 + x1, "conv9", "bn9")
    n = norm(F.conv2d(n9, state["convadd.weight"], None, 1, 1), "bnadd").relu()
    d = up(x5, "conv_d0", "bn_d0")
    d = up(d, "conv_d1", "bn_d1")
    d = up(d + n6, "conv_d2", "bn_d2")
    d = up(d + n7, "conv_d3", "bn_d3")
    d = up(d + n8, "conv_d4", "bn_d4")
    d = norm(F.conv2d(d + n9, state["conv_d5.weight"], None, 1, 1), "bn_d5").relu()
    return F.conv2d(n, state["conv10.weight"], None, 2, 2), F.conv2d(
        d, state["convd.weight"], None, 2, 2
    )


def test_its_outputs_follow_the_description(net: PublishedNet) -> None:
    x = torch.rand(1, 96, 64, 64)
    with torch.no_grad():
        normals, height = net(x)
        expected = by_hand(net.state_dict(), x)
    assert normals.shape == (1, 3, 64, 64)
    assert height.shape == (1, 1, 64, 64)
    for got, want in zip((normals, height), expected, strict=True):
        assert (got - want).abs().max() <= 1e-5 * max(1.0, float(want.abs().max()))


@pytest.mark.parametrize("wrap", ["bare", "state_dict", "module"])
def test_checkpoints_load(net: PublishedNet, tmp_path, wrap: str) -> None:
    state = net.state_dict()
    if wrap == "module":
        state = {f"module.{k}": v for k, v in state.items()}
    torch.save({"state_dict": state} if wrap == "state_dict" else state, tmp_path / "c.pth")
    again = read_published(tmp_path / "c.pth")
    for a, b in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def authors_state(net: PublishedNet) -> dict[str, torch.Tensor]:
    """What the authors' ``torch.save(net.state_dict())`` holds: 293 tensors, bare."""
    return {
        "pretrained_net.conv_f.weight" if name == "conv_f.weight" else name: tensor
        for name, tensor in net.state_dict().items()
    }


def test_the_authors_checkpoint_loads_and_gives_its_own_outputs(
    net: PublishedNet, tmp_path
) -> None:
    state = authors_state(net)
    assert len(state) == 293
    assert state["pretrained_net.conv_f.weight"].shape == (64, 96, 3, 3)
    assert "conv_f.weight" not in state
    torch.save(state, tmp_path / "authors.pth")
    again = read_published(tmp_path / "authors.pth")
    x = torch.rand(1, 96, 32, 32)
    with torch.no_grad():
        for got, want in zip(again(x), net(x), strict=True):
            assert torch.equal(got, want)
    del state["pretrained_net.conv_f.weight"]
    torch.save(state, tmp_path / "authors.pth")
    with pytest.raises(ReconstructError, match=r"conv_f\.weight"):
        read_published(tmp_path / "authors.pth")


def test_other_files_are_refused_and_never_run(net: PublishedNet, tmp_path) -> None:
    path = tmp_path / "c.pth"
    with pytest.raises(ReconstructError, match="no checkpoint at"):
        read_published(path)
    torch.save(net.conv5, path)  # a whole module is pickled code
    with pytest.raises(ReconstructError, match="plain tensors"):
        read_published(path)
    path.write_bytes(b"junk")
    with pytest.raises(ReconstructError, match="plain tensors"):
        read_published(path)
    state = net.state_dict()
    del state["conv7.weight"]
    torch.save(state, path)
    with pytest.raises(ReconstructError, match=r"first 'conv7\.weight'"):
        read_published(path)


def test_the_published_layout_is_written(tmp_path) -> None:
    sample = draw(8, PUBLISHED_RIG, "test", keep_radiance=True)
    names = layout.write_sample(tmp_path, sample, 3).split(",")
    assert names == [
        "data_small1/ob3_1_1_r0/ob_3_1_1_no",
        "data_small1/ob3_1_1_r0/depth_obj3j1k1",
        "data_small1/ob3_1_1_r0/normal_obj3j1k1",
    ]
    pictures, truth = published_pair(sample)
    written = [cv2.imread(str(tmp_path / f"{names[0]}{k}.png"), -1) for k in (1, 96)]
    np.testing.assert_allclose(written, 255 * (pictures * sample.mask)[[0, 95]], atol=1e-3)
    height = loadmat(tmp_path / f"{names[1]}.mat")["position_map"]
    np.testing.assert_allclose(height, truth[3], atol=1e-6)
    normals = 2 * loadmat(tmp_path / f"{names[2]}.mat")["normal_map"] - 1
    np.testing.assert_allclose(normals[sample.mask], sample.normals[sample.mask], atol=1e-6)
    assert (normals[~sample.mask] == -1).all()


def test_the_fixed_rig_is_the_same_in_every_sample() -> None:
    """The published network needs one light order for ever."""
    first, second = (scene_of(seed, PUBLISHED_RIG).lights["position"] for seed in (1, 2))
    np.testing.assert_array_equal(first, second)
