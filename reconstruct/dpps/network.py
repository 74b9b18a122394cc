"""The any-rig network: half-vector moments to normals, log depth and their uncertainty.

A U-Net. The first layers look at single pixels (the moments already hold what a pixel's lights
say); the bulk works at half resolution and below, where a convolution sees the neighbourhood that
shadows, inter-reflections and the height of the part itself ask for.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reconstruct.dpps.forward import F32, Network
from reconstruct.dpps.weights import Shape, Weights


class Joining(nn.Conv2d):
    """A 3×3 convolution over a map beside a coarser one, which is doubled in size for it."""

    def __init__(self, fine: int, coarse: int, outside: int) -> None:
        super().__init__(fine + coarse, outside, 3, 1, 1, bias=False)

    def forward(self, maps: tuple[Tensor, Tensor]) -> Tensor:  # type: ignore[override]
        fine, coarse = maps
        doubled = F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        return super().forward(torch.cat([fine, doubled], 1))


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(
        convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True)
    )


def _conv(inside: int, outside: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, size, stride, size // 2, bias=False)


class Block(nn.Module):
    """Two convolutions with a shortcut, the first one given."""

    def __init__(self, first: nn.Conv2d) -> None:
        super().__init__()
        self.first = _normed(first)
        size = first.out_channels
        self.second = nn.Sequential(_conv(size, size), nn.BatchNorm2d(size))

    def forward(self, x: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        y = self.first(x)
        return F.relu(y + self.second(y))


@dataclass
class Prediction:
    """Network output.

    Attributes
    ----------
    normals : (B, 3, H, W) unit
    delta : (B, H, W) log depth over the base in units of 64 pixels' angle
    log_normal_error, log_delta_error : (B, H, W) log of the expected absolute error
    """

    normals: Tensor
    delta: Tensor
    log_normal_error: Tensor
    log_delta_error: Tensor


SIZES = Shape()
# Half width of the head's first weights.
HEAD_START = 0.01 * 3**0.5


class AnyRigNet(nn.Module):
    """Moments (B, 42, H, W) to a `Prediction`; H and W multiples of 16."""

    def __init__(self, shape: Shape = SIZES) -> None:
        super().__init__()
        self.shape = shape
        w = shape.widths
        self.pixel = nn.Sequential(
            _normed(_conv(shape.channels, shape.pixelwise, 1)),
            _normed(_conv(shape.pixelwise, w[0], 1)),
        )
        self.stem = _normed(_conv(w[0], w[0]))
        self.down = nn.ModuleList(Block(_conv(a, b, 3, 2)) for a, b in itertools.pairwise(w))
        self.middle = Block(_conv(w[-1], w[-1]))
        self.up = nn.ModuleList()
        for i in reversed(range(len(w) - 1)):
            join = Joining(w[i], w[i + 1], w[i])
            self.up.append(Block(join) if i else _normed(join))
        self.head = nn.Conv2d(2 * w[0], 5, 1)
        nn.init.uniform_(self.head.weight, -HEAD_START, HEAD_START)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Prediction:
        hint = x[:, 15:17] / 3  # mean half vector at power 1
        point = self.pixel(x)
        features = [self.stem(point)]
        for down in self.down:
            features.append(down(features[-1]))
        y = self.middle(features.pop())
        for up in self.up:
            y = up((features.pop(), y))
        out = self.head(torch.cat([y, point], 1)).float()
        a = out[:, :2] + hint
        square = (a * a).sum(1, keepdim=True)
        normals = torch.cat([2 * a, 1 - square], 1) / (1 + square)
        return Prediction(normals, out[:, 2], out[:, 3].clamp(-8, 3), out[:, 4].clamp(-8, 3))


def network_of(weights: Weights) -> AnyRigNet:
    """The network with these weights, ready to predict or to be trained on."""
    model = AnyRigNet(weights.shape)
    state = model.state_dict()
    for name, value in weights.tensors.items():
        state[name].copy_(torch.from_numpy(value))
    return model.eval()


def weights_of(model: AnyRigNet, facts: dict[str, Any] | None = None) -> Weights:
    """A copy of the network's weights, with facts about their training."""
    state = model.state_dict()
    tensors = {
        name: state[name].detach().float().numpy(force=True).copy()
        for name in model.shape.tensors()
    }
    return Weights(model.shape, tensors, facts or {})


class OnDevice:
    """A copy of the network on a GPU that takes and gives arrays, as `forward.Network` does."""

    def __init__(self, model: AnyRigNet, device: str | torch.device) -> None:
        copied = copy.deepcopy(model).eval().requires_grad_(False)
        self.model = copied.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = device

    def __call__(self, channels: F32) -> F32:
        said = self.model(torch.from_numpy(channels).to(self.device)[None])
        values = [
            *said.normals[0], said.delta[0], said.log_normal_error[0], said.log_delta_error[0]
        ]  # fmt: skip
        found: F32 = torch.stack(values).numpy(force=True)
        return found


def predictor(model: AnyRigNet) -> Callable[[F32], F32]:
    """What `reconstruct.dpps.predict` asks, where the network is."""
    device = next(model.parameters()).device
    return Network(weights_of(model)) if device.type == "cpu" else OnDevice(model, device)


@dataclass
class Loss:
    """The loss and its parts, as mean over the masked pixels."""

    total: Tensor
    normal_deg: Tensor
    delta: Tensor


def loss_of(prediction: Prediction, target: Tensor) -> Loss:
    """Masked loss against (B, 5, H, W) targets: normal, delta, mask."""
    normal, delta, mask = target[:, :3], target[:, 3], target[:, 4]
    count = mask.sum((1, 2)).clamp(min=1)

    def mean(values: Tensor) -> Tensor:
        """Mean over each image's part, then over images: the same for any split of a batch."""
        return ((values * mask).sum((1, 2)) / count).mean()

    gap = (prediction.normals - normal).square().sum(1)
    chord = (gap + 1e-6).sqrt()
    # chord = 2 sin(angle / 2); plus a little square so that gross errors keep pulling
    normal_loss = mean(chord + 0.5 * gap)
    error = prediction.delta - delta
    bias = (error * mask).sum((1, 2)) / count
    centred = error - bias[:, None, None]
    height_loss = mean(centred.abs()) + 0.05 * bias.abs().mean()
    both_x = mask[:, :, 1:] * mask[:, :, :-1]
    both_y = mask[:, 1:] * mask[:, :-1]
    dx = (error[:, :, 1:] - error[:, :, :-1]).abs() * both_x
    dy = (error[:, 1:] - error[:, :-1]).abs() * both_y
    derivative = ((dx.sum((1, 2)) + dy.sum((1, 2))) / count).mean() * 64
    doubt = (
        chord.detach() * (-prediction.log_normal_error).exp() + prediction.log_normal_error
        + centred.detach().abs() * (-prediction.log_delta_error).exp()
        + prediction.log_delta_error
    )  # fmt: skip
    doubt_loss = mean(doubt)
    total = normal_loss + 2.0 * height_loss + 0.1 * derivative + 0.02 * doubt_loss
    with torch.no_grad():
        angle = torch.rad2deg(2 * torch.asin((chord / 2).clamp(max=1)))
        rms = ((centred.square() * mask).sum((1, 2)) / count).sqrt().mean()
    return Loss(total, mean(angle), rms)
