"""Spoken digits: which of ten digits a person said, heard by a model that was trained on other people (real recordings, 8 kHz).

The recordings are the Free Spoken Digit Dataset (Jakobovski et al.): six speakers, fifty of each digit, 8 kHz, mono, trimmed of silence. Two
speakers are the test, one is the validation, and the others train, so that settings are chosen by the same question that is asked at the
end: how well does it hear somebody new? Which speakers is a draw. Features are those of `keywords` (49 frames of 40 log-mel bins over a
second) at half its sampling rate; every recording is first scaled to the same peak and heard down to 80 dB below it, since loudness and
hiss are the microphone's and would tell speakers apart.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from oscbench.data import Located, locate
from oscbench.data.known import SPOKEN_DIGIT
from oscbench.data.prepared import prepared
from oscbench.errors import UserError
from oscbench.models.trunk import named_seed
from oscbench.tasks import Batch, Draw, FrameInputs, Metric, TaskConfig, draw_number
from oscbench.tasks.support.in_memory import Classification, mixed_but_training
from oscbench.tasks.support.sound.log_mel import NUM_BINS, NUM_FRAMES, log_mel
from oscbench.tasks.support.sound.wave_files import read_wave

PREPARATION = "spoken_digits v1"
RATE = 8_000
DIGITS = 10
RANGE_DB = 80.0
SMALLEST_SPREAD = 1e-5
SPEAKER_SEED = 20_260_106
NUM_TEST_SPEAKERS, FEWEST_SPEAKERS = 2, 4
REMEDY = "give the folder of the Free Spoken Digit Dataset, with recordings/DIGIT_SPEAKER_INDEX.wav"


class SpokenDigitsConfig(TaskConfig):
    """Settings of spoken digits.

    Attributes:
        path: the folder, or the name of a stored data set.
        draw: which speakers are held out; `per_seed` draws them anew for each seed.
    """

    path: str = "spoken_digits"
    draw: Draw = "fixed"


class SpokenDigits(Classification):
    """Which digit was said, by somebody unheard."""

    Config = SpokenDigitsConfig
    version = 2
    label = "spoken digits, speakers unheard in training"
    metric = Metric("accuracy", "test accuracy", "fraction", "higher")
    backbone = "frames"
    inputs = FrameInputs(NUM_BINS, NUM_FRAMES, DIGITS)

    def __init__(self, config: SpokenDigitsConfig) -> None:
        self.config = config
        located = locate(config.path)
        names = _recordings(located)
        heard = prepared(f"{PREPARATION} {located.sha256()}", lambda: _features(located.path, names))
        speakers = [_speaker(name) for name in names]
        digits = torch.tensor([int(name[0]) for name in names])
        rows = {
            split: torch.tensor([row for row, speaker in enumerate(speakers) if speaker in chosen])
            for split, chosen in held_out(sorted(set(speakers)), draw_number(config.draw)).items()
        }
        train = heard["features"][rows["train"]]
        mean, spread = train.mean((0, 1)), train.std((0, 1)).clamp_min(SMALLEST_SPREAD)
        found = {
            split: Batch((heard["features"][of] - mean) / spread, digits[of]) for split, of in rows.items()
        }
        self.splits = mixed_but_training(found)

    @classmethod
    def describe(cls, config: SpokenDigitsConfig) -> FrameInputs:
        """Frames of log-mel features; refused here, before anything runs, where the recordings are not."""
        _recordings(locate(config.path))
        return cls.inputs


def held_out(speakers: list[str], draw: int) -> dict[str, tuple[str, ...]]:
    """Speakers of each split in a draw.

    The pairs of test speakers stand in one shuffled order, and draw k takes the k-th, so that draws 0 to 14 of six speakers hold out each
    pair once and each speaker equally often. The validation speaker is drawn from the others.
    """
    pairs = list(combinations(speakers, NUM_TEST_SPEAKERS))
    order = torch.randperm(len(pairs), generator=_generator("pairs"))
    test = pairs[int(order[draw % len(pairs)])]
    others = [speaker for speaker in speakers if speaker not in test]
    chosen = int(torch.randint(len(others), (), generator=_generator(f"validation/{draw}")))
    validation = others.pop(chosen)
    return {"train": tuple(others), "validation": (validation,), "test": test}


def _generator(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(named_seed(SPEAKER_SEED, name))


def _recordings(located: Located) -> list[str]:
    """Names of all recordings in a fixed order.

    Raises:
        UserError: there are none, one has another name, a digit is missing, or the speakers are too few.
    """
    folder = located.path / "recordings"
    names = sorted(path.name for path in folder.glob("*.wav"))
    if not names:
        raise UserError(f"task.path: {folder}: no recordings (*.wav) there; {REMEDY}")
    for name in names:
        if SPOKEN_DIGIT.fullmatch(name) is None:
            raise UserError(f"task.path: {folder / name}: not named DIGIT_SPEAKER_INDEX.wav; {REMEDY}")
    said: dict[str, set[str]] = {}
    for name in names:
        said.setdefault(_speaker(name), set()).add(name[0])
    if len(said) < FEWEST_SPEAKERS:
        raise UserError(
            f"task.path: {folder}: {len(said)} speakers ({', '.join(sorted(said))}), at least {FEWEST_SPEAKERS} are needed: "
            f"two for the test, one for validation; {REMEDY}"
        )
    for speaker, digits in sorted(said.items()):
        if len(digits) < DIGITS:
            missing = ", ".join(sorted(set("0123456789") - digits))
            raise UserError(f"task.path: {folder}: {speaker} says no {missing}; {REMEDY}")
    return names


def _speaker(name: str) -> str:
    return name.split("_")[1]


def _features(folder: Path, names: list[str]) -> dict[str, Tensor]:
    """Log-mel features (recordings, 49, 40) [dB below the loudest bin of the recording's own], 0 to -80.

    Raises:
        UserError: a recording cannot be read.
    """
    waves = torch.from_numpy(np.stack([read_wave(folder / "recordings" / name, RATE) for name in names]))
    waves = waves / waves.abs().amax(1, keepdim=True).clamp_min(1.0 / 32768.0)
    features = torch.cat([log_mel(part, RATE) for part in waves.split(512)])
    return {"features": (features - features.amax((1, 2), keepdim=True)).clamp_min(-RANGE_DB)}


task = SpokenDigits
