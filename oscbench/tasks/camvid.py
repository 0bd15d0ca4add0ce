"""CamVid: street scenes filmed from a car, eleven classes (Brostow et al., 2008), from a local folder.

In the form that SegNet made common: 367 images of training, 101 of validation and 233 of test, and label pictures in which 0 to 10 are the
classes and 11 is void, which counts nowhere. Whole images are scaled to the size asked for and scored at that size, which is smaller than
usual: numbers here are not those that others publish. The 101 images of validation are one clip out of a drive that trains, so that a model
which remembers its neighbours is ahead there and not on the test: what is chosen on them is chosen so.

Reading images needs Pillow (`pip install "oscbench[images]"`).
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from oscbench.data import locate
from oscbench.data.known import CAMVID_SPLITS, camvid_mistake
from oscbench.data.prepared import prepared
from oscbench.errors import UserError
from oscbench.tasks import Batch, ImageInputs
from oscbench.tasks.support.images.labelled_pictures import Labelling, decoded_with_labels, labelled
from oscbench.tasks.support.images.pictures import pillow
from oscbench.tasks.support.images.stored_segmentation import StoredSegmentation, StoredSegmentationConfig

CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
LABELLING = Labelling(classes=len(CLASSES), first=0, void=11)
PREPARATION = "camvid v1"
LAYOUT = "give a folder with train, val and test, and label pictures in trainannot, valannot and testannot"


class CamVidConfig(StoredSegmentationConfig):
    """Settings of CamVid.

    Attributes:
        path: the unpacked folder; by default the stored data set.
        height: that images are scaled to [pixels].
        width: that images are scaled to [pixels].
    """

    path: str = "camvid"
    height: int = Field(default=90, ge=1)
    width: int = Field(default=120, ge=1)


class CamVid(StoredSegmentation):
    """What each pixel of a street scene belongs to."""

    Config = CamVidConfig
    version = 2
    label = "CamVid"
    classes = CLASSES

    def __init__(self, config: CamVidConfig) -> None:
        self.config = config
        self.inputs = self.describe(config)
        located = locate(config.path)
        size = (config.height, config.width)
        found = prepared(
            f"{PREPARATION} {config.height} {config.width} {located.sha256()}",
            lambda: _read(located.path, size),
        )
        self.keep(
            {split: Batch(found[f"{split}.images"], found[f"{split}.labels"]) for split in CAMVID_SPLITS}
        )

    @classmethod
    def describe(cls, config: CamVidConfig) -> ImageInputs:
        """Coloured images; refused here, before anything runs, where folders or packages are missing."""
        located = locate(config.path)
        pillow()
        if mistake := camvid_mistake(located.path):
            raise UserError(f"task.path: {located.path}: {mistake}; {LAYOUT}")
        return ImageInputs(3, config.height, config.width, len(CLASSES))

    @classmethod
    def headline(cls, config: CamVidConfig) -> tuple[str, Any]:
        """Label with the size that images are seen and scored at."""
        return f"{cls.label}, {config.width} × {config.height}", cls.metric


def _read(folder: Any, size: tuple[int, int]) -> dict[str, Any]:
    found = {}
    for split, name in CAMVID_SPLITS.items():
        pairs = labelled(folder / name, folder / f"{name}annot", LAYOUT)
        found[f"{split}.images"], found[f"{split}.labels"] = decoded_with_labels(pairs, size, LABELLING)
    return found


task = CamVid
