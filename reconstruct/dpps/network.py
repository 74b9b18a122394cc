"""The any-rig network: half-vector moments to normals, log depth and their uncertainty.

A U-Net. The first layers look at single pixels (the moments already hold what a pixel's lights
say); the bulk works at half resolution and below, where a convolution sees the neighbourhood that
shadows, inter-reflections and the height of the part itself ask for.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from reconstruct.dpps.encoding import CHANNELS, ENCODING


@dataclass(frozen=True)
class Shape:
    """Sizes of the network."""

    channels: int = CHANNELS
    widths: tuple[int, ...] = (32, 64, 128, 192, 256)
    pixelwise: int = 32

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "widths": list(self.widths), "encoding": ENCODING}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Shape:
        """The sizes that `to_json` wrote."""
        sizes = {key: value for key, value in data.items() if key != "encoding"}
        return Shape(**{**sizes, "widths": tuple(sizes["widths"])})


class Joining(nn.Conv2d):
    """A 3×3 convolution over a map beside a coarser one, which is doubled in size for it."""

    def __init__(self, fine: int, coarse: int, outside: int) -> None:
        super().__init__(fine + coarse, outside, 3, 1, 1, bias=False)
        self.fine = fine

    def forward(self, maps: tuple[Tensor, Tensor]) -> Tensor:  # type: ignore[override]
        fine, coarse = maps
        doubled = F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        return super().forward(torch.cat([fine, doubled], 1))


class QuickJoining(nn.Module):
    """What `Joining` says, at four ninths of the coarse map's cost, and the large map not made.

    Of a doubled map 3×3 pixels hold 2×2 pixels of the coarse one, so that the filter has four
    weights for each of the four places within a doubled pixel: a transposed convolution of 4×4.
    """

    def __init__(self, joining: Joining) -> None:
        super().__init__()
        weight, bias = joining.weight.detach(), joining.bias
        outside, fine = len(weight), joining.fine
        coarse = weight.shape[1] - fine
        with torch.device("meta"):  # their weights are given
            self.fine = nn.Conv2d(fine, outside, 3, 1, 1, bias=bias is not None)
            self.coarse = nn.ConvTranspose2d(coarse, outside, 4, 2, 1, bias=False)
        spread = weight.new_zeros((coarse, outside, 4, 4))
        for within in itertools.product(range(2), repeat=2):
            for tap in itertools.product(range(3), repeat=2):
                y, x = (2 + place - shift for place, shift in zip(within, tap, strict=True))
                spread[..., y, x] += weight[:, fine:, tap[0], tap[1]].T
        self.fine.weight, self.fine.bias = nn.Parameter(weight[:, :fine].clone()), bias
        self.coarse.weight = nn.Parameter(spread)

    def forward(self, maps: tuple[Tensor, Tensor]) -> Tensor:
        fine, coarse = maps
        joined: Tensor = self.fine(fine)
        return joined.add_(self.coarse(coarse))


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


# Half width of the head's first weights. Even, not normal: PyTorch loads its compiler, in 1.5 s, to
# draw normal weights that have a size but no memory (`reconstruct.dpps.weights.read_weights`).
HEAD_START = 0.01 * 3**0.5


class AnyRigNet(nn.Module):
    """Moments (B, 42, H, W) to a `Prediction`; H and W multiples of 16."""

    def __init__(self, shape: Shape = Shape()) -> None:
        super().__init__()
        self.shape = shape
        self.precision = torch.float32  # of all but the head; see `ready`
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
        point = self.pixel(x.to(self.precision))
        features = [self.stem(point)]
        for down in self.down:
            features.append(down(features[-1]))
        y = self.middle(features.pop())
        for up in self.up:
            y = up((features.pop(), y))
        # The head in two halves: together the maps would be four times as large as in bfloat16.
        weight, half = self.head.weight, y.shape[1]
        out = F.conv2d(y.to(weight.dtype), weight[:, :half], self.head.bias).float()
        out = out + F.conv2d(point.to(weight.dtype), weight[:, half:]).float()
        a = out[:, :2] + hint
        square = (a * a).sum(1, keepdim=True)
        normals = torch.cat([2 * a, 1 - square], 1) / (1 + square)
        return Prediction(normals, out[:, 2], out[:, 3].clamp(-8, 3), out[:, 4].clamp(-8, 3))


def quick_precision(device: str) -> torch.dtype:
    """bfloat16 on processors that multiply it, where it halves the time; else float32."""
    capable = torch.ops.mkldnn._is_mkldnn_bf16_supported
    return torch.bfloat16 if device == "cpu" and capable() else torch.float32


@contextmanager
def threads_for(many_pixels: bool) -> Iterator[None]:
    """One thread of the processor unless there is much to do.

    Between the small layers of a small picture a second thread waits more than it works, and it
    waits by spinning: 256×256 px cost three times the processor seconds with two threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if many_pixels else 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fold(module: nn.Module) -> None:
    """Multiply batch norms into the filters before them."""
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential) and isinstance(child[1], nn.BatchNorm2d):
            convolution = child[0]
            assert isinstance(convolution, nn.Conv2d)
            merged = fuse_conv_bn_eval(convolution, child[1])
            module.add_module(name, nn.Sequential(merged, *list(child)[2:]))
        else:
            _fold(child)


def _quicken(module: nn.Module) -> None:
    """Put `QuickJoining` where `Joining` is."""
    for name, child in module.named_children():
        if isinstance(child, Joining):
            module.add_module(name, QuickJoining(child))
        else:
            _quicken(child)


def ready(model: AnyRigNet, device: str = "cpu", precision: torch.dtype | None = None) -> AnyRigNet:
    """A copy to predict with: fewer multiplications for the same, channels last in memory.

    All but the head works in `precision`, by default the quick one of the device; the head stays
    in float32, since it says degrees.
    """
    model = copy.deepcopy(model).eval()
    _fold(model)
    _quicken(model)
    model.precision = precision or quick_precision(device)
    model.to(device, model.precision)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.head.float()
    return model.requires_grad_(False)


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
