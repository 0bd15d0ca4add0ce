"""Views of images: random parts, enlarged again, mirrored, brighter or darker, each image by its own draws (SimCLR, arXiv 2002.05709).

In torch alone. Images are bytes (B, C, h, w); where they have colours, a view may lose them, and its channels are scaled apart.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import grid_sample

from oscbench.settings import added
from oscbench.tasks import TaskConfig
from oscbench.tasks.support.images.stored import crop_places, cropped

GREY_SHARE = 0.2
"""Of the views of coloured images, how many lose their colours, as in SimCLR."""


class ViewSettings(TaskConfig):
    """How views are drawn.

    Attributes:
        crop_area: least share of an image that a view shows, enlarged to the whole; 1 turns crops off.
        flip: views are mirrored half of the time.
        brightness: a view's pixels are multiplied by 1 ± up to so much, the colours each by its own draw.
        contrast: what a pixel differs from its view's mean by is multiplied by 1 ± up to so much.
        local_views: so many smaller views beside the two, for the student alone.
        local_size: their side [pixels].
        local_crop_area: least share of an image that one of them shows; the largest is `crop_area`, where those of the two begin.
    """

    crop_area: float = Field(default=0.25, gt=0.0, le=1.0)
    flip: bool = True
    brightness: float = Field(default=0.4, ge=0.0, lt=1.0)
    contrast: float = Field(default=0.4, ge=0.0, lt=1.0)
    local_views: int = added(0, neutral=0, ge=0)
    local_size: int | None = added(None, neutral=None, ge=1)
    local_crop_area: float = added(0.05, neutral=0.05, gt=0.0, le=1.0)


def view_of(images: Tensor, settings: ViewSettings, generator: torch.Generator) -> Tensor:
    """One view of each image (B, C, h, w) with pixels from 0 to 255, in floats that keep to that range."""
    return _changed(cropped(images.float(), settings.crop_area, generator), settings, generator)


def local_view_of(images: Tensor, settings: ViewSettings, generator: torch.Generator) -> Tensor:
    """One smaller view of each image, (B, C, s, s) with s the `local_size`, in floats from 0 to 255; bilinear, as the large ones."""
    assert settings.local_size is not None
    side = settings.local_size
    images, areas = images.float(), (settings.local_crop_area, settings.crop_area)
    places = crop_places(images, areas[0], generator, areas[1], (side, side))
    seen = grid_sample(images, places, padding_mode="border", align_corners=False)
    return _changed(seen, settings, generator)


def _changed(seen: Tensor, settings: ViewSettings, generator: torch.Generator) -> Tensor:
    """Parts of images, mirrored, brighter or darker, and grey."""
    count, channels = seen.shape[:2]
    if settings.flip:
        mirrored = torch.rand(count, generator=generator) < 0.5
        seen = torch.where(mirrored[:, None, None, None], seen.flip(-1), seen)
    bright = _about_one(settings.brightness, generator, count, channels)
    contrast = _about_one(settings.contrast, generator, count, 1)
    mean = seen.mean((1, 2, 3), keepdim=True)
    seen = ((seen - mean) * contrast + mean) * bright
    if channels > 1:
        grey = torch.rand(count, generator=generator) < GREY_SHARE
        seen = torch.where(grey[:, None, None, None], seen.mean(1, keepdim=True).expand(seen.shape), seen)
    return seen.clamp(0.0, 255.0)


def _about_one(spread: float, generator: torch.Generator, *shape: int) -> Tensor:
    """Factors 1 ± up to `spread`, (*shape, 1, 1)."""
    drawn: Tensor = 1.0 + spread * (2.0 * torch.rand(*shape, generator=generator) - 1.0)
    return drawn[..., None, None]
