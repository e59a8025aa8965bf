"""A supernet in PyTorch and its fair step: the rival of `bench_fair_step.py --torch`, which starts this file.

    python tools/torch_supernet.py CASE

Needs PyTorch and no other package. CASE is JSON: {space: as `space_facts` of the bench has it, paths [m, layers], pixels,
batch_size, num_classes, threads}. For each line on standard input the process makes one step and prints its seconds and by
how much steps have raised the peak resident set.

The step follows usual PyTorch code: each path goes forward and backward on the same batch, gradients add up in
`.grad`, and SGD moves once at the end. Images and weights are float32 in the memory format channels_last.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from measuring import peak_bytes, serve, timed

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "hard_swish": nn.Hardswish,
    "relu6": nn.ReLU6,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
}


def conv_bn(inner: int, outer: int, size: int = 1, stride: int = 1, groups: int = 1, act=None) -> list[nn.Module]:
    """A convolution without bias, BN and, where `act` is given, an activation."""
    conv = nn.Conv2d(inner, outer, size, stride, size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outer), *([act(inplace=True)] if act else [])]


class SqueezeExcite(nn.Module):
    """Channels scaled by a gate that reads their means."""

    def __init__(self, channels: int, squeeze: int):
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(channels, squeeze, 1), nn.Conv2d(squeeze, channels, 1)

    def forward(self, x):
        gate = functional.relu(self.squeeze(x.mean((2, 3), keepdim=True)))
        return x * functional.hardsigmoid(self.excite(gate))


class Block(nn.Module):
    """1x1 expand, k x k depthwise, squeeze-and-excitation, 1x1 project, and the input where `residual`."""

    def __init__(self, inner: int, outer: int, stride: int, choice: dict, act: type[nn.Module]):
        super().__init__()
        hidden = inner * choice["expansion"]
        self.residual = stride == 1 and inner == outer
        self.body = nn.Sequential(
            *conv_bn(inner, hidden, act=act),
            *conv_bn(hidden, hidden, choice["kernel_size"], stride, hidden, act),
            *([SqueezeExcite(hidden, max(1, hidden // 4))] if choice["use_se"] else []),
            *conv_bn(hidden, outer),
        )

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


class TorchSupernet(nn.Module):
    """Images [B, 3, H, W] and a path [layers] to logits [B, classes]; a skipped layer is a 1x1 convolution (LET)."""

    def __init__(self, space: dict, num_classes: int):
        super().__init__()
        stem, first, tail = space["widths"]
        act = ACTIVATIONS[space["activation"]]
        self.stem = nn.Sequential(
            *conv_bn(3, stem, 3, space["stem_stride"], act=nn.ReLU6),
            *conv_bn(stem, stem, 3, groups=stem, act=nn.ReLU6),
            *conv_bn(stem, first),
        )
        self.layers = nn.ModuleList(
            nn.ModuleList(
                nn.Conv2d(inner, outer, 1, stride, bias=False)
                if "skip" in choice
                else Block(inner, outer, stride, choice, act)
                for choice in space["choices"]
            )
            for inner, outer, stride in space["layers"]
        )
        self.tail = nn.Sequential(*conv_bn(space["layers"][-1][1], tail, act=nn.ReLU6))
        self.classifier = nn.Linear(tail, num_classes)

    def forward(self, images, path: Sequence[int]):
        x = self.stem(images)
        layers: Any = self.layers
        for choices, index in zip(layers, path, strict=True):
            x = choices[index](x)
        return self.classifier(self.tail(x).mean((2, 3)))


class FairStep:
    """One step on a fixed batch; each call returns its seconds and the memory that steps have taken so far."""

    def __init__(self, case: dict):
        torch.manual_seed(0)
        shape = (case["batch_size"], 3, case["pixels"], case["pixels"])
        self.images = torch.randn(shape).to(memory_format=torch.channels_last)
        self.labels = torch.randint(case["num_classes"], shape[:1])
        self.paths = case["paths"]
        # What the first operation allocates once does not count.
        functional.conv2d(self.images, torch.ones(8, 3, 3, 3, requires_grad=True)).sum().backward()
        started = peak_bytes()
        # PyTorch's type hints know no `memory_format` of a module.
        supernet: Any = TorchSupernet(case["space"], case["num_classes"]).train()
        self.supernet = supernet.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.supernet.parameters(), lr=0.001, momentum=0.9)
        for parameter in self.supernet.parameters():  # PyTorch would make them in the first step
            self.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        self.before = peak_bytes()
        self.variable_bytes = self.before - started

    def __call__(self) -> dict:
        seconds = timed(self.step)
        return {
            "seconds": seconds,
            "peak_bytes": peak_bytes() - self.before,
            "variable_bytes": self.variable_bytes,
            "torch": torch.__version__,
        }

    def step(self) -> None:
        """Add up the paths' gradients, then update all weights once."""
        self.optimizer.zero_grad(set_to_none=True)
        for path in self.paths:
            functional.cross_entropy(self.supernet(self.images, path), self.labels).backward()
        self.optimizer.step()


def main() -> None:
    """Parse the case and serve steps until standard input ends."""
    case = json.loads(sys.argv[1])
    torch.set_num_threads(case["threads"])
    torch.set_num_interop_threads(1)
    serve(FairStep(case))


if __name__ == "__main__":
    main()
