"""Object discovery in made scenes: tetrominoes of one grey on noise, which may touch, found without a label.

Brightness tells blocks from the ground and no block from another, so that which patches belong together hangs on shape and place. The
form is that of the Tetrominoes that AKOrN was tried on (arXiv 2410.13821), where colours tell them apart.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from pydantic import Field, model_validator

from oscbench.data.prepared import prepared
from oscbench.settings import added
from oscbench.tasks import Draw, ViewInputs, draw_number
from oscbench.tasks.support.scenes.tetrominoes import CELLS, block_scenes
from oscbench.tasks.support.segments.discovery import (
    DiscoveryConfig,
    ObjectDiscovery,
    with_objects,
    without_objects,
)
from oscbench.tasks.support.training_subsets import drawn

PREPARATION = "tetrominoes v2"
MOST_COVERED = 0.5


class BlocksConfig(DiscoveryConfig):
    """Settings of scenes of blocks.

    Attributes:
        size: side of a scene [pixels].
        blocks: in every scene.
        cell: side of one of a block's four cells [pixels].
        noise: spread of the noise on every pixel; black is 0 and white 1.
        train_scenes: of training.
        validation_scenes: of validation, which clusters them after every epoch.
        test_scenes: of test.
        draw: of the scenes of training and validation; `per_seed` composes others for each seed.
    """

    size: int = Field(default=32, ge=8, le=256)
    blocks: int = Field(default=3, ge=2, le=16)
    cell: int = Field(default=4, ge=1)
    noise: float = Field(default=0.1, ge=0.0)
    train_scenes: int = Field(default=10_000, ge=1)
    validation_scenes: int = Field(default=100, ge=1)
    test_scenes: int = Field(default=320, ge=1)
    draw: Draw = added("fixed", neutral="fixed")

    @model_validator(mode="after")
    def _fits(self) -> BlocksConfig:
        if self.cell * CELLS > self.size:
            raise ValueError(
                f"cell {self.cell}: a block is up to {CELLS * self.cell} pixels long, size is {self.size}; set cell to "
                f"{self.size // CELLS} or less"
            )
        covered = self.blocks * CELLS * self.cell**2 / self.size**2
        if covered > MOST_COVERED:
            raise ValueError(
                f"blocks {self.blocks} of cell {self.cell} cover {covered:.0%} of a scene of size {self.size}; at most {MOST_COVERED:.0%}"
            )
        return self


class BlockDiscovery(ObjectDiscovery):
    """Which patches show the same block."""

    Config = BlocksConfig
    version = 2
    label = "object discovery in scenes of blocks"
    config: BlocksConfig

    def __init__(self, config: BlocksConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        look = {name: getattr(config, name) for name in ("size", "blocks", "cell", "noise")}
        sizes = {
            drawn("train", draw_number(config.draw)): config.train_scenes,
            drawn("validation", draw_number(config.draw)): config.validation_scenes,
            "test": config.test_scenes,
        }
        train, validation, test = (
            prepared(f"{PREPARATION} {stream} {count} {look}", partial(block_scenes, stream, count, **look))
            for stream, count in sizes.items()
        )
        self.take(
            {
                "train": without_objects(train["images"]),
                "validation": with_objects(validation),
                "test": with_objects(test),
            }
        )

    @classmethod
    def describe(cls, config: Any) -> ViewInputs:
        """Grey scenes."""
        found: ViewInputs = config.inputs(1, config.size, config.size)
        return found


task = BlockDiscovery
