"""Tasks, measures and mechanisms that give what they may not; suites name them `throwaway_parts:EmptyTest`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import torch

from oscbench.measures import Findings, Measure, MeasureConfig
from oscbench.mechanisms.softmax import Softmax
from oscbench.records import Curve, Measurement
from oscbench.tasks import Batch, ImageInputs, Metric, SequenceInputs
from oscbench.tasks.support.in_memory import Classification


class Stripes(Classification):
    """Which way stripes go; the others are this one with one thing wrong."""

    label = "stripes"
    metric = Metric("accuracy", "test accuracy", "fraction", "higher")
    backbone = "vision"
    inputs = ImageInputs(channels=1, height=8, width=8, num_classes=2)

    def __init__(self, config):
        self.config = config
        self.splits = {name: self.made(name, count) for name, count in self.sizes().items()}

    def sizes(self):
        return {"train": 32, "validation": 8, "test": 8}

    def made(self, split, count):
        targets = torch.arange(count) % 2
        stripes = (torch.arange(8) % 2).float().expand(8, 8)
        return Batch(torch.where(targets[:, None, None] == 1, stripes, stripes.T)[:, None], targets)


class EmptyTest(Stripes):
    def sizes(self):
        return super().sizes() | {"test": 0}


class NoValidation(Stripes):
    def sizes(self):
        return {"train": 32, "test": 8}


class Unequal(Stripes):
    def made(self, split, count):
        whole = super().made(split, count)
        return Batch(whole.inputs[1:], whole.targets)


class NotFinite(Stripes):
    def made(self, split, count):
        whole = super().made(split, count)
        return Batch(whole.inputs * math.nan, whole.targets)


class ThirdClass(Stripes):
    def made(self, split, count):
        whole = super().made(split, count)
        return Batch(whole.inputs, whole.targets * 2)


class FloatClass(Stripes):
    def made(self, split, count):
        whole = super().made(split, count)
        return Batch(whole.inputs, whole.targets.float())


class UnknownToken(Stripes):
    """Tokens up to the vocabulary's size, which is one too many."""

    backbone = "sequence"
    inputs = SequenceInputs(vocabulary=4, length=5, num_outputs=2, is_causal=False)

    def made(self, split, count):
        return Batch(torch.arange(5).expand(count, 5), torch.arange(count) % 2)


class NoHeadline(Stripes):
    def finish(self, counts):
        return {}


class NanHeadline(Stripes):
    def summary(self, mean):
        return math.nan


class EmptyStream(Stripes):
    """One whose batches come from elsewhere."""

    def check(self):
        super(Classification.__mro__[1], self).check()

    def batches(self, split, batch_size):
        return iter(()) if split == "validation" else super().batches(split, batch_size)


class NoInputs(Classification):
    label = "no inputs"
    metric = Stripes.metric
    backbone = "vision"
    Config = Stripes.Config

    def __init__(self, config):
        raise AssertionError("it is never made")


class MisspeltSettings(Stripes.Config):
    amount: NoSuchType = 1.0  # noqa: F821


class MisspeltConfig(Stripes):
    Config = MisspeltSettings


class DictConfig(Stripes):
    Config = dict


def measured(value, **more):
    return Measurement(**{"value": value, "unit": "1", "label": "a number", **more})


class Gives(Measure):
    """Gives 3 under a name of its own; the others give otherwise."""

    label = "gives"
    given = staticmethod(lambda: Findings({"three": measured(3.0)}))

    def after(self, subject):
        return self.given()


class Headline(Gives):
    given = staticmethod(lambda: Findings({"accuracy": measured(1.0)}))


class Params(Gives):
    given = staticmethod(lambda: Findings({"params": measured(1)}))


class Early(Gives):
    def before(self, subject):
        return Findings({"accuracy": measured(1.0)})


class OwnTwice(Gives):
    def before(self, subject):
        return self.given()


class Loss(Gives):
    def curves(self, history):
        return {"train_loss": Curve(label="loss", unit="1", x=(0,), y=(0.0,))}


class NothingGiven(Gives):
    given = staticmethod(lambda: None)


class DictGiven(Gives):
    given = staticmethod(lambda: {"three": measured(3.0)})


class FloatGiven(Gives):
    given = staticmethod(lambda: Findings({"three": 3.0}))


class FlagGiven(Gives):
    given = staticmethod(lambda: Findings(flags="careful"))


class NanGiven(Gives):
    given = staticmethod(lambda: Findings({"three": measured(math.nan)}))


class Down(Gives):
    given = staticmethod(lambda: Findings({"three": measured(3.0, direction="down")}))


class BreaksConfig(MeasureConfig):
    while_there: str
    memory: bool = False


class Breaks(Measure):
    """Breaks as long as a file is there."""

    Config = BreaksConfig
    label = "breaks"

    def after(self, subject):
        if Path(self.config.while_there).exists():
            raise (MemoryError if self.config.memory else ValueError)("a slip of mine")
        return Findings({"three": measured(3.0)})


class NoAfter(Measure):
    label = "no after"

    def aftr(self, subject):
        return Findings()


class MixesTensor(Softmax):
    def mix(self, layer, tokens, state, context):
        return super().mix(layer, tokens, state, context).update


class MixesNothing(Softmax):
    def mix(self, layer, tokens, state, context):
        super().mix(layer, tokens, state, context)


class TellsOfOneExample(Softmax):
    """Its diagnostic attention is that of the first example alone."""

    def mix(self, layer, tokens, state, context):
        mixed = super().mix(layer, tokens, state, context)
        if context.diagnostics:
            mixed.diagnostics["attention"] = mixed.diagnostics["attention"][0]
        return mixed


class CountsInt(Softmax):
    def operations(self, tokens, evaluations=0.0):
        return 3


class Shapes(Softmax):
    def mix(self, layer, tokens, state, context):
        return super().mix(layer, tokens @ torch.ones(3, 4), state, context)


class Costs(Gives):
    roles: ClassVar = {"three": {"costs": "Threes"}}


class HighRank(Gives):
    roles: ClassVar = {"three": {"rank": "high"}}


class WithRole(Gives):
    roles: ClassVar = {"three": {"rank": 50}}


class NumberForLabel(Stripes):
    label = 5


class WordForVersion(Stripes):
    version = "a"


class WordForMetric(Stripes):
    metric = "acc"


class NumberForUnit(Stripes):
    metric = Metric("accuracy", 5, "fraction", "higher")


class NoTraits(Softmax):
    traits = None


class EmptyLabel(Softmax):
    label = " "
