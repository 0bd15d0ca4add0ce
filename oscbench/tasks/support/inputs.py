"""What a backbone must know of a task's inputs before it sees any."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageInputs:
    """What a vision backbone must know of its images."""

    channels: int
    height: int
    width: int
    num_classes: int


@dataclass(frozen=True)
class ViewInputs:
    """What a backbone must know that sees whole images, or two views of each, one's channels after the other's.

    With `local` = (how many, side [pixels]) an example is one row of numbers: those two views, then as many smaller ones. `teacher` is
    the momentum with which a teacher begins to follow, if there is one; its features are evaluated, unless `student_features`.
    """

    channels: int
    height: int
    width: int
    local: tuple[int, int] | None = None
    teacher: float | None = None
    student_features: bool = False


@dataclass(frozen=True)
class SequenceInputs:
    """What a sequence backbone must know of its tokens.

    Attributes:
        vocabulary: number of token ids.
        length: N of a training sequence; learned positions and anchors reach so far.
        num_outputs: numbers that the head gives a token.
        is_causal: a token may know only what came before.
        padding: token id that stands for padding, if there is one; padding stands on the right.
        evaluated_length: N of a sequence that the model is scored on, where that is not the length of training.
    """

    vocabulary: int
    length: int
    num_outputs: int
    is_causal: bool
    padding: int | None = None
    evaluated_length: int | None = None


@dataclass(frozen=True)
class GridInputs:
    """What a grid backbone must know of its cells.

    Attributes:
        rows: of a grid.
        columns: of a grid.
        vocabulary: number of ids that a cell may hold.
        num_outputs: numbers that the head gives a cell.
        unknown: id of a cell whose content is to be found, if there is one.
        boxes: rows and columns of a box, where cells belong to boxes too.
        task_tokens: number of tasks, each with a learned token; the first id of an input then says which. 0 has none.
    """

    rows: int
    columns: int
    vocabulary: int
    num_outputs: int
    unknown: int | None = None
    boxes: tuple[int, int] | None = None
    task_tokens: int = 0


@dataclass(frozen=True)
class FrameInputs:
    """What a frame backbone must know: features of a frame, frames of an example, and how many classes there are."""

    features: int
    length: int
    num_classes: int


@dataclass(frozen=True)
class DualInputs:
    """What a backbone with an image and a text tower must know.

    An input is one row of numbers: the image's channels × height × width, then the `words` token ids of its caption.

    Attributes:
        channels: of an image.
        height: of an image [pixels].
        width: of an image [pixels].
        vocabulary: number of token ids; 0 is padding, on the right.
        words: most tokens of a caption.
    """

    channels: int
    height: int
    width: int
    vocabulary: int
    words: int

    @property
    def pixels(self) -> int:
        """Numbers of an image."""
        return self.channels * self.height * self.width
