"""Mechanisms that break, wait or die, each in its own way; suites name them `throwaway_mechanisms:Raises`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from oscbench.mechanisms import MechanismConfig
from oscbench.mechanisms.softmax import Softmax
from oscbench.ops.dispatch import UnsupportedError
from oscbench.runner.training import parallel


class Raises(Softmax):
    def mix(self, layer, tokens, state, context):
        raise RuntimeError("broken on purpose\nand a second line")


class Nan(Softmax):
    def mix(self, layer, tokens, state, context):
        mixed = super().mix(layer, tokens, state, context)
        return type(mixed)(mixed.update * (float("nan") if self.training else 1.0), mixed.diagnostics)


class CannotRepeat(Softmax):
    """Holds an operation that PyTorch has in no form that repeats itself, of which nothing here depends."""

    def mix(self, layer, tokens, state, context):
        torch.zeros(4).put_(torch.tensor([0]), torch.ones(1))
        return super().mix(layer, tokens, state, context)


class CannotRepeatLater(Softmax):
    """The same where a trained model is looked at, and in no step."""

    trained = False

    def mix(self, layer, tokens, state, context):
        self.trained |= self.training and torch.is_grad_enabled()
        if self.trained and not self.training:
            torch.zeros(4).put_(torch.tensor([0]), torch.ones(1))
        return super().mix(layer, tokens, state, context)


class CannotRepeatLookedAt(Softmax):
    """The same where diagnostics are asked for."""

    def mix(self, layer, tokens, state, context):
        if context.diagnostics:
            torch.zeros(4).put_(torch.tensor([0]), torch.ones(1))
        return super().mix(layer, tokens, state, context)


class Unsupported(Softmax):
    def mix(self, layer, tokens, state, context):
        raise UnsupportedError("not made for this machine")


class OutOfMemory(Softmax):
    def mix(self, layer, tokens, state, context):
        return torch.empty(2**50)


class NeedsNoGpu(Softmax):
    def mix(self, layer, tokens, state, context):
        if os.environ.get("CUDA_VISIBLE_DEVICES") != "":
            raise RuntimeError("it might see a GPU")
        return super().mix(layer, tokens, state, context)


class OneOfTwoIsOutOfMemory(Softmax):
    def mix(self, layer, tokens, state, context):
        if parallel.number() == 1:
            return torch.empty(2**50)
        return super().mix(layer, tokens, state, context)


class Exits(Softmax):
    def mix(self, layer, tokens, state, context):
        sys.exit(3)


class NoRecord(Softmax):
    def notes(self):
        return [object()]


class Unbuildable(Softmax):
    def __init__(self, config, shape):
        raise TypeError("no such thing")


class FolderConfig(MechanismConfig):
    folder: str


class DiesOnce(Softmax):
    """Is killed the first time that it runs."""

    Config = FolderConfig

    def mix(self, layer, tokens, state, context):
        died = Path(self.config.folder) / "died"
        if not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().mix(layer, tokens, state, context)


class Gated(Softmax):
    """Says which process it is in, starts a child if the folder holds `with_child`, and goes on when it holds `open`."""

    Config = FolderConfig

    def mix(self, layer, tokens, state, context):
        folder = Path(self.config.folder)
        if (folder / "with_child").exists() and not (folder / f"reached-{os.getpid()}").exists():
            subprocess.Popen(["sleep", "1000"])
        (folder / f"reached-{os.getpid()}").touch()
        while not (folder / "open").exists():
            time.sleep(0.02)
        return super().mix(layer, tokens, state, context)
