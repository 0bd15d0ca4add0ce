"""Backbones: what stands around the trunk. A file here is a backbone; its last line names the class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from oscbench.mechanisms import Context
from oscbench.models.trunk import Output, Trunk


class BackboneConfig(BaseModel):
    """Settings of a backbone, as they stand in a suite under `model`; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Backbone(nn.Module, ABC):
    """Inputs to tokens, the trunk, and a read-out."""

    Config: ClassVar[type[BackboneConfig]]
    version: ClassVar[int] = 1
    trunk: Trunk

    @abstractmethod
    def __init__(
        self,
        config: Any,
        inputs: Any,
        mechanism_class: type,
        mechanism_config: Any,
        *,
        hidden: int | None,
        seed: int,
    ) -> None:
        """Build from settings, what the task says of its inputs, the mechanism, and the MLP's hidden units (None: as set)."""

    @abstractmethod
    def embed(self, inputs: Tensor) -> Tensor:
        """Inputs of a batch to embeddings (B, N, D)."""

    @abstractmethod
    def context(self, inputs: Tensor, *, diagnostics: bool = False) -> Context:
        """Positions, causality and padding of a batch."""

    @abstractmethod
    def read_out(self, features: Tensor) -> Tensor:
        """Features (B, N, ·) to the prediction."""

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """N of a sample, CLS and registers counted."""

    @abstractmethod
    def flops(self) -> int:
        """Forward FLOPs a sample, in closed form."""

    def forward(self, inputs: Tensor, *, diagnostics: bool = False) -> Output:
        """Prediction for a batch, and each layer's diagnostics if asked for."""
        features, found = self.trunk(self.embed(inputs), self.context(inputs, diagnostics=diagnostics))
        return Output(self.read_out(features), found)

    def calibrate(self, inputs: Tensor) -> list[dict[str, Any]]:
        """Let the mechanism set start values on the first training batch; says what it did."""
        return self.trunk.calibrate(self.embed(inputs), self.context(inputs))
