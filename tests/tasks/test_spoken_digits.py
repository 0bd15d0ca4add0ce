"""Spoken digits, from small recordings that the tests make: who is held out, what is heard, what is refused."""

from __future__ import annotations

import wave
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from oscbench.data import add
from oscbench.errors import UserError
from oscbench.models.backbones.frames import Frames, FramesConfig
from oscbench.tasks.spoken_digits import SpokenDigits, SpokenDigitsConfig, held_out

SPEAKERS = ("ann", "bob", "cyd", "dan", "eve", "fay")
SIX = list(SPEAKERS)


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "store"))


def write(path: Path, samples: np.ndarray, rate: int = 8_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def tone(digit: int, speaker: int, take: int, loudness: float = 4000.0) -> np.ndarray:
    """A pitch for each digit, a noise of each recording's own, of unlike lengths."""
    generator = np.random.default_rng((digit, speaker, take))
    count = 3_000 + 400 * take
    wanted = np.sin(2 * np.pi * (300 + 250 * digit) * np.arange(count) / 8_000)
    return loudness * (wanted + 0.02 * generator.standard_normal(count))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "spoken"
    for number, speaker in enumerate(SPEAKERS):
        for digit in range(10):
            for take in range(2):
                write(
                    place / "recordings" / f"{digit}_{speaker}_{take}.wav",
                    tone(digit, number, take, loudness=1000.0 * (number + 1)),
                )
    (place / "README.md").write_text("what else lies there")
    return place


def config(folder: Path, **settings: Any) -> SpokenDigitsConfig:
    return SpokenDigitsConfig.model_validate({"path": str(folder), **settings})


def test_splits_share_no_speaker_and_keep_every_recording(folder: Path) -> None:
    task = SpokenDigits(config(folder))
    assert {split: len(batch.targets) for split, batch in task.splits.items()} == {
        "train": 60,
        "validation": 20,
        "test": 40,
    }
    for batch in task.splits.values():
        counts = Counter(batch.targets.tolist())
        assert set(counts) == set(range(10))
        assert len(set(counts.values())) == 1
    rows = [tuple(row.flatten().tolist()) for batch in task.splits.values() for row in batch.inputs]
    assert len(set(rows)) == 120


def test_fifteen_draws_hold_out_every_pair_once_and_every_speaker_equally_often() -> None:
    drawn = [held_out(SIX, draw) for draw in range(15)]
    assert len({frozenset(one["test"]) for one in drawn}) == 15
    assert set(Counter(name for one in drawn for name in one["test"]).values()) == {5}
    assert len({one["validation"] for one in drawn}) > 3
    for one in drawn:
        assert sorted(name for names in one.values() for name in names) == SIX
        assert {split: len(names) for split, names in one.items()} == {"train": 3, "validation": 1, "test": 2}
    assert held_out(SIX, 15)["test"] == drawn[0]["test"]


def test_each_seed_has_its_speakers_where_that_is_asked_for(folder: Path) -> None:
    each, fixed = config(folder, draw="per_seed"), config(folder)
    by_seed = [SpokenDigits.for_seed(each, seed).data_hash() for seed in range(4)]
    assert len(set(by_seed)) == 4
    assert SpokenDigits.for_seed(each, 2).data_hash() == by_seed[2]
    assert SpokenDigits(config(folder, draw=2)).data_hash() == by_seed[2]
    assert len({SpokenDigits.for_seed(fixed, seed).data_hash() for seed in range(4)}) == 1


def test_loudness_is_not_heard(folder: Path, tmp_path: Path) -> None:
    louder = tmp_path / "louder"
    for path in (folder / "recordings").glob("*.wav"):
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        write(louder / "recordings" / path.name, 4 * samples.astype(np.int32))
    one, two = (SpokenDigits(config(place)).splits["test"].inputs for place in (folder, louder))
    assert torch.allclose(one, two, atol=1e-3)


def test_features_are_normalised_over_training_and_reach_down_to_a_floor(folder: Path) -> None:
    task = SpokenDigits(config(folder))
    train = task.splits["train"].inputs
    assert train.shape[1:] == (49, 40)
    assert train.mean((0, 1)).abs().max() < 1e-4
    # After the end of a sound there is silence, the lowest that a bin is ever heard.
    silent = train[:, -5:].flatten(0, 1)
    assert torch.allclose(silent, train.amin((0, 1)).expand_as(silent))
    # The loudest bin of a tone of 300 + 250·digit Hz rises with the digit.
    loudest = [int(train[task.splits["train"].targets == digit].mean((0, 1)).argmax()) for digit in range(10)]
    assert loudest == sorted(loudest)


def test_a_frame_model_reads_them(folder: Path) -> None:
    from oscbench import catalog

    task = SpokenDigits(config(folder))
    softmax = catalog.load("mechanisms", "softmax")
    model = Frames(
        FramesConfig(width=8, heads=1), task.inputs, softmax, softmax.Config(), hidden=None, seed=0
    )
    batch = next(iter(task.batches("test", 4)))
    assert model(batch.inputs).prediction.shape == (4, 10)


def test_stored_recordings_are_the_default(folder: Path) -> None:
    add("spoken_digits", folder)
    assert SpokenDigits(SpokenDigitsConfig()).data_hash() == SpokenDigits(config(folder)).data_hash()


def refused(call: Any, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_bad_recordings_are_told_in_a_line(folder: Path, tmp_path: Path) -> None:
    refused(
        lambda: SpokenDigits.describe(SpokenDigitsConfig()),
        "spoken_digits: not in the data store .* oscbench data add spoken_digits --from PATH",
    )
    refused(
        lambda: SpokenDigits.describe(config(tmp_path)), r"recordings: no recordings \(\*\.wav\) there; give"
    )
    refused(lambda: add("spoken_digits", tmp_path), r"recordings/ holds no \.wav file")
    recordings = folder / "recordings"

    def describe() -> object:
        return SpokenDigits.describe(config(folder))

    def load() -> object:
        return SpokenDigits(config(folder))

    write(recordings / "3_ann_0.wav", tone(3, 0, 0), rate=16_000)
    refused(load, r"3_ann_0\.wav: 16000 Hz, 16 bits, 1 channel; needs 8000 Hz")
    (recordings / "3_ann_0.wav").write_bytes(b"RIFF")
    refused(load, r"3_ann_0\.wav: not a readable PCM WAV file")
    for path in recordings.glob("3_ann_*.wav"):
        path.unlink()
    refused(describe, "ann says no 3")
    for path in recordings.glob("*_[abc]*_*.wav"):
        path.unlink()
    refused(describe, r"3 speakers \(dan, eve, fay\), at least 4 are needed")
    write(recordings / "three.wav", tone(3, 0, 0))
    refused(describe, r"three\.wav: not named DIGIT_SPEAKER_INDEX\.wav")
    refused(lambda: add("spoken_digits", folder), r"recordings/three\.wav is not named")
