"""The published networks in PyTorch: module names, and so state dicts, as the authors'; independent of our builder."""

import dataclasses

import numpy as np
import torch
from torch import nn
from torch.nn import functional


@dataclasses.dataclass(frozen=True)
class Row:
    """One layer of the published tables; None stands for a skipped one."""

    expansion: int
    channels: int
    kernel_size: int
    stride: int
    use_se: bool


def published_rows(encoding: str, with_se: bool = True) -> list[Row | None]:
    """The 19 layers of an encoding in S2, or in S1 without SE."""
    stages = ((32, 2, 2), (40, 4, 2), (80, 4, 2), (96, 4, 1), (192, 4, 2), (320, 1, 1))  # channels, depth, first stride
    layers = [(channels, stride if i == 0 else 1) for channels, depth, stride in stages for i in range(depth)]
    rows = []
    for (channels, stride), choice in zip(layers, map(int, encoding.split(",")), strict=True):
        index, use_se = (choice // 2, choice % 2 == 1) if with_se else (choice, False)
        skipped = index == 6
        rows.append(None if skipped else Row((3, 6)[index // 3], channels, 3 + 2 * (index % 3), stride, use_se))
    return rows


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.squeeze_conv = nn.Conv2d(channels, channels // 4, 1)
        self.excite_conv = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x):
        gate = functional.relu(self.squeeze_conv(x.mean((2, 3), keepdim=True)))
        return x * functional.hardsigmoid(self.excite_conv(gate))


class Block(nn.Module):
    def __init__(self, in_channels, row, activation):
        super().__init__()
        hidden = in_channels * row.expansion
        self.activation, self.shortcut = activation, row.stride == 1 and in_channels == row.channels
        self.conv1, self.bn1 = nn.Conv2d(in_channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden)
        self.conv2, self.bn2 = depthwise(hidden, row.kernel_size, row.stride), nn.BatchNorm2d(hidden)
        if row.use_se:
            self.mid_se = SqueezeExcite(hidden)
        self.conv3, self.bn3 = nn.Conv2d(hidden, row.channels, 1, bias=False), nn.BatchNorm2d(row.channels)

    def forward(self, inputs):
        x = self.activation(self.bn1(self.conv1(inputs)))
        x = self.activation(self.bn2(self.conv2(x)))
        if hasattr(self, "mid_se"):
            x = self.mid_se(x)
        x = self.bn3(self.conv3(x))
        return inputs + x if self.shortcut else x


class Twin(nn.Module):
    """Images [B, 3, H, W] to logits [B, classes]; `widths`: of the stem, behind it, and of the tail."""

    def __init__(self, rows, classes, widths=(32, 16, 1280), stem_stride=2, activation=functional.hardswish):
        super().__init__()
        stem, channels, tail = widths
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem, 3, stem_stride, padding=1, bias=False), nn.BatchNorm2d(stem), nn.ReLU6()
        )
        self.separable_conv = nn.Sequential(
            depthwise(stem, 3, 1),
            nn.BatchNorm2d(stem),
            nn.ReLU6(),
            nn.Conv2d(stem, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        blocks = []
        for row in rows:
            blocks.append(nn.Identity() if row is None else Block(channels, row, activation))
            channels = channels if row is None else row.channels
        self.mb_module = nn.Sequential(*blocks)
        self.conv_before_pooling = nn.Sequential(
            nn.Conv2d(channels, tail, 1, bias=False), nn.BatchNorm2d(tail), nn.ReLU6()
        )
        self.classifier = nn.Linear(tail, classes)

    def forward(self, x):
        x = self.mb_module(self.separable_conv(self.stem(x)))
        return self.classifier(self.conv_before_pooling(x).mean((2, 3)))

    @torch.no_grad()
    def randomise(self, seed: int, pixels: int) -> "Twin":
        """Draws weights, BN scales and offsets, and BN statistics; leaves the network in evaluation mode.

        Statistics are those of random images times or plus something random: drawn at large, they would not hold the
        activations, which then grow until logits are made of rounding errors, as a trained network's are not.
        """
        rng = np.random.default_rng(seed)
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        for key, value in self.named_parameters():
            if value.ndim > 1:
                draw(value, rng.normal(0, np.sqrt(2 / np.prod(value.shape[1:])), value.shape))
            elif key.endswith("weight"):
                draw(value, rng.uniform(0.5, 1.5, value.shape) * rng.choice([-1, 1], value.shape))
            else:
                draw(value, rng.normal(0, 0.3, value.shape))
        for norm in norms:
            norm.momentum = 1.0
        self.train()(torch.tensor(rng.normal(size=(4, 3, pixels, pixels)), dtype=torch.float32))
        for norm in norms:
            deviation = norm.running_var.sqrt().numpy()
            draw(norm.running_mean, norm.running_mean.numpy() + 0.3 * deviation * rng.normal(size=deviation.shape))
            draw(norm.running_var, norm.running_var.numpy() * rng.uniform(0.5, 2.0, deviation.shape))
            norm.num_batches_tracked.fill_(int(rng.integers(1, 1000)))
        return self.eval()

    @torch.no_grad()
    def logits(self, images: np.ndarray) -> np.ndarray:
        """The answer to images [B, H, W, 3]."""
        return self(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()


def depthwise(channels, kernel_size, stride):
    return nn.Conv2d(channels, channels, kernel_size, stride, padding=kernel_size // 2, groups=channels, bias=False)


def draw(tensor: torch.Tensor, values: np.ndarray) -> None:
    tensor.copy_(torch.tensor(values))


def relative_difference(reference: np.ndarray, other: np.ndarray) -> float:
    """The greatest difference of two arrays of logits, in units of the reference's greatest absolute value."""
    return float(np.max(np.abs(reference - other)) / np.max(np.abs(reference)))
