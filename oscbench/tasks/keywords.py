"""Keyword spotting: which of ten words was said, from 49 frames of 40 log-mel bins (the recipe of arXiv 2606.12059).

Sound comes from Speech Commands v0.02 (Warden, arXiv 1804.03209) with its official lists, where `path` names it; else the words are
spoken by espeak-ng, once, in voices that the splits do not share, and go the same way through WAV files to features.
"""

from __future__ import annotations

import json
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from oscbench.data import locate
from oscbench.data.known import KEYWORDS
from oscbench.data.prepared import prepared
from oscbench.errors import UserError
from oscbench.tasks import Batch, FrameInputs, Metric, TaskConfig
from oscbench.tasks.support.in_memory import Classification, mixed_but_training
from oscbench.tasks.support.sound import speech_synthesis as synthesis
from oscbench.tasks.support.sound.log_mel import NUM_BINS, NUM_FRAMES, RATE, log_mel
from oscbench.tasks.support.sound.wave_files import read_wave

PREPARATION = "keywords v1"
SPLITS = ("train", "validation", "test")
SMALLEST_SPREAD = 1e-5
REMEDY = "give the unpacked folder of Speech Commands v0.02"


class KeywordsConfig(TaskConfig):
    """Settings of keyword spotting.

    Attributes:
        path: a folder of Speech Commands v0.02 or the name of a stored data set; None is words spoken by espeak-ng.
    """

    path: str | None = None


class Keywords(Classification):
    """Which of ten words was said."""

    Config = KeywordsConfig
    version = 2
    label = "spoken keywords"
    metric = Metric("accuracy", "test accuracy", "fraction", "higher")
    backbone = "frames"
    inputs = FrameInputs(NUM_BINS, NUM_FRAMES, len(KEYWORDS))

    def __init__(self, config: KeywordsConfig) -> None:
        self.config = config
        found = _features(*_source(config))
        train = found["train.inputs"]
        mean = train.mean((0, 1))
        spread = train.std((0, 1)).clamp_min(SMALLEST_SPREAD)
        stored = {
            split: Batch((found[f"{split}.inputs"] - mean) / spread, found[f"{split}.targets"])
            for split in SPLITS
        }
        self.splits = mixed_but_training(stored)

    @classmethod
    def headline(cls, config: KeywordsConfig) -> tuple[str, Metric]:
        """Label and metric; words of a machine are not those of people."""
        return (cls.label if config.path else f"{cls.label}, espeak-ng in noise"), cls.metric

    @classmethod
    def describe(cls, config: KeywordsConfig) -> FrameInputs:
        """Frames of log-mel features, made here, once for all, so that a bad recording is refused before anything runs."""
        _prove_audible(config, synthesis.program() if config.path is None else None)
        return cls.inputs


def _source(config: KeywordsConfig) -> tuple[str, Path | None]:
    """Key of the features, and the folder of the recordings; None is espeak-ng."""
    if config.path is None:
        return f"{PREPARATION} spoken {json.dumps(synthesis.recipe(KEYWORDS), sort_keys=True)}", None
    located = locate(config.path)
    recordings(located.path)  # what is not there is told before gigabytes are hashed
    return f"{PREPARATION} {located.sha256()}", located.path


def _features(key: str, folder: Path | None) -> dict[str, Tensor]:
    """Features of every split, from the store where they have been made."""
    return prepared(key, _spoken if folder is None else lambda: features_of(folder))


@lru_cache
def _prove_audible(config: KeywordsConfig, _program: str | None) -> None:
    """Make the features where they are not yet; a process asks once, not for every cell, and keeps none of them in memory."""
    _features(*_source(config))


def _spoken() -> dict[str, Tensor]:
    """Features of the words that espeak-ng speaks."""
    with tempfile.TemporaryDirectory(prefix="oscbench-words-") as folder:
        synthesis.speak_into(Path(folder), KEYWORDS)
        return features_of(Path(folder))


def features_of(folder: Path) -> dict[str, Tensor]:
    """Log-mel features (examples, 49, 40) [dB] and words of each split of a folder, not yet normalised.

    Raises:
        UserError: the folder or one of its files is not as it should be.
    """
    found = {}
    for split, names in recordings(folder).items():
        waves = np.stack([read_wave(folder / name, RATE) for name in names])
        parts = [log_mel(torch.from_numpy(part)) for part in np.array_split(waves, max(1, len(waves) // 512))]
        found[f"{split}.inputs"] = torch.cat(parts)
        words = [KEYWORDS.index(name.partition("/")[0]) for name in names]
        found[f"{split}.targets"] = torch.tensor(words, dtype=torch.int64)
    return found


def recordings(folder: Path) -> dict[str, list[str]]:
    """`word/file.wav` of each split, in a fixed order: the official lists, and all else of the ten words for training.

    Raises:
        UserError: the folder lacks a list, a word, or a recording that a list names; or a split is empty.
    """
    listed = {split: _listed(folder / name) for split, name in synthesis.LISTS.items()}
    there = {word: {f"{word}/{path.name}" for path in (folder / word).glob("*.wav")} for word in KEYWORDS}
    silent = [word for word, names in there.items() if not names]
    if silent:
        raise UserError(f"task.path: {folder}: no recordings of {', '.join(silent)} (word/*.wav); {REMEDY}")
    everything = set().union(*there.values())
    for split, names in listed.items():
        for name in sorted(names - everything):
            raise UserError(
                f"task.path: {folder / name}: no such file, although {synthesis.LISTS[split]} names it; {REMEDY}"
            )
    found = {"train": everything - listed["validation"] - listed["test"], **listed}
    for split, names in found.items():
        if not names:
            raise UserError(f"task.path: {folder}: no recording is left for {split}; {REMEDY}")
    return {split: sorted(found[split]) for split in SPLITS}


def _listed(path: Path) -> set[str]:
    """Recordings of the ten words that a list names."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise UserError(f"task.path: {path}: {why}; {REMEDY}") from error
    return {line.strip() for line in lines if line.partition("/")[0] in KEYWORDS}


task = Keywords
