"""The published network: 96 grey pictures in a fixed order to normals and height.

Re-implemented from its description, layer for layer and key for key, so that the authors'
checkpoints load: a ResNet-34 encoder (He et al. 2016) with a 96-channel stem of its own and two
decoders of transposed convolutions. Its checkpoints carry the ResNet's own 7×7 stem and classifier
unused; they are kept as parameters for that reason alone. All convolutions are without bias.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reconstruct.errors import ReconstructError

LIGHTS = 96
AUTHORS_STEM = "pretrained_net.conv_f.weight"
OUR_STEM = "conv_f.weight"


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut; names as in torchvision."""

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )
            if stride != 1 or inside != outside
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        short = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + short)


def _stage(inside: int, outside: int, blocks: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        BasicBlock(inside, outside, stride),
        *(BasicBlock(outside, outside) for _ in range(blocks - 1)),
    )


class ResNet34(nn.Module):
    """The encoder's stages; `conv1` and `fc` are in the checkpoints and never used."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _stage(64, 64, 3, 1)
        self.layer2 = _stage(64, 128, 4, 2)
        self.layer3 = _stage(128, 256, 6, 2)
        self.layer4 = _stage(256, 512, 3, 2)
        self.fc = nn.Linear(512, 1000)


def _up(inside: int, outside: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inside, outside, 3, 2, 1, output_padding=1, bias=False)


class PublishedNet(nn.Module):
    """(B, 96, H, W) pictures in [0, 1] to (B, 3, H, W) unnormalised normals and (B, 1, H, W)
    height in field widths; H and W multiples of 16, trained at 128."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_f = nn.Conv2d(LIGHTS, 64, 3, 1, 1, bias=False)
        self.pretrained_net = ResNet34()
        self.conv5, self.bn5 = _up(512, 256), nn.BatchNorm2d(256)
        self.conv6, self.bn6 = _up(256, 128), nn.BatchNorm2d(128)
        self.conv7, self.bn7 = _up(128, 64), nn.BatchNorm2d(64)
        self.conv8, self.bn8 = _up(64, 64), nn.BatchNorm2d(64)
        self.conv9, self.bn9 = _up(64, 32), nn.BatchNorm2d(32)
        self.convadd, self.bnadd = nn.Conv2d(32, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.conv10 = nn.Conv2d(16, 3, 5, 2, 2, bias=False)
        self.conv_d0, self.bn_d0 = _up(512, 256), nn.BatchNorm2d(256)
        self.conv_d1, self.bn_d1 = _up(256, 128), nn.BatchNorm2d(128)
        self.conv_d2, self.bn_d2 = _up(128, 64), nn.BatchNorm2d(64)
        self.conv_d3, self.bn_d3 = _up(64, 64), nn.BatchNorm2d(64)
        self.conv_d4, self.bn_d4 = _up(64, 32), nn.BatchNorm2d(32)
        self.conv_d5, self.bn_d5 = nn.Conv2d(32, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.convd = nn.Conv2d(16, 1, 5, 2, 2, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        net = self.pretrained_net
        x1 = self.conv_f(x)
        x2 = F.max_pool2d(F.relu(net.bn1(x1)), 3, 2, 1)
        x3 = net.layer2(net.layer1(x2))
        x4 = net.layer3(x3)
        x5 = net.layer4(x4)
        n5 = F.relu(self.bn5(self.conv5(x5)))
        n6 = F.relu(self.bn6(self.conv6(n5 + x4)))
        n7 = F.relu(self.bn7(self.conv7(n6 + x3)))
        n8 = F.relu(self.bn8(self.conv8(n7 + x2)))
        n9 = F.relu(self.bn9(self.conv9(n8 + x1)))
        normals = self.conv10(F.relu(self.bnadd(self.convadd(n9))))
        d = F.relu(self.bn_d0(self.conv_d0(x5)))
        d = F.relu(self.bn_d1(self.conv_d1(d)))
        d = F.relu(self.bn_d2(self.conv_d2(d + n6)))
        d = F.relu(self.bn_d3(self.conv_d3(d + n7)))
        d = F.relu(self.bn_d4(self.conv_d4(d + n8)))
        d = F.relu(self.bn_d5(self.conv_d5(d + n9)))
        return normals, self.convd(d)


def published_loss(output: tuple[Tensor, Tensor], target: Tensor) -> Any:
    """Mean squared error of normals and height over the part; target as in `loss_of`."""
    from reconstruct.dpps.network import Loss

    normals, height = output
    mask = target[:, 4]
    count = mask.sum((1, 2)).clamp(min=1)

    def mean(values: Tensor) -> Tensor:
        return ((values * mask).sum((1, 2)) / count).mean()

    error = height[:, 0] - target[:, 3]
    total = mean((normals - target[:, :3]).square().sum(1)) + mean(error.square())
    with torch.no_grad():
        cosine = (F.normalize(normals, dim=1) * target[:, :3]).sum(1).clamp(-1, 1)
        angle = mean(torch.rad2deg(torch.acos(cosine)))
        bias = (error * mask).sum((1, 2)) / count
        centred = (error - bias[:, None, None]).square()
        rms = ((centred * mask).sum((1, 2)) / count).sqrt().mean()
    return Loss(total, angle, rms)


def read_published(path: Path) -> PublishedNet:
    """Load a checkpoint of the authors' code, or one of ours; no code in it is ever run.

    Accepts a state dict, bare or under "state_dict", "model", "net" or "average", with or
    without a "module." prefix. The authors hang their 96-channel stem into the ResNet
    (`AUTHORS_STEM`); ours stands beside it (`OUR_STEM`): both names are read.

    Raises `ReconstructError` when it does not fit.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ReconstructError(f"there is no checkpoint at {path}") from error
    except Exception as error:  # the reader fails in many ways on bytes that are no pickle
        raise ReconstructError(
            f"{path} is not a checkpoint of plain tensors; save the network's state_dict "
            "with torch.save and try again"
        ) from error
    for name in ("state_dict", "model_state_dict", "average", "model", "net"):
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
            break
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise ReconstructError(f"{path} holds no dictionary of tensors")
    state = {str(k).removeprefix("module."): v for k, v in loaded.items()}
    if AUTHORS_STEM in state and OUR_STEM not in state:
        state[OUR_STEM] = state.pop(AUTHORS_STEM)
    net = PublishedNet()
    own = net.state_dict()
    optional = {k for k in own if k.endswith("num_batches_tracked")}
    optional |= {k for k in own if k.startswith(("pretrained_net.fc", "pretrained_net.conv1"))}
    wrong = sorted((set(own) - set(state) - optional) | (set(state) - set(own))) or sorted(
        k for k in state if own[k].shape != state[k].shape
    )
    if wrong:
        raise ReconstructError(
            f"{path} does not fit the published network: {len(wrong)} tensors are missing, "
            f"unknown or of another size, first '{wrong[0]}'"
        )
    net.load_state_dict(state, strict=False)
    return net.eval()
