"""Sound from WAV files, and a line on what is wrong with one."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from oscbench import words
from oscbench.errors import UserError


def read_wave(path: Path, wanted: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """One second of sound in [-1, 1), (wanted,): cut where longer, silence after it where shorter.

    Args:
        path: of the file.
        wanted: samples a second [Hz].

    Raises:
        UserError: not a whole WAV file of that rate, 16 bits, one channel.
    """
    try:
        with wave.open(str(path), "rb") as file:
            rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
            promised, raw = file.getnframes(), file.readframes(wanted)
    except (wave.Error, EOFError, OSError) as error:
        raise UserError(
            f"task.path: {path}: not a readable PCM WAV file ({str(error) or 'it ends too soon'}); bring it again, or remove it"
        ) from error
    if (rate, width, channels) != (wanted, 2, 1):
        raise UserError(
            f"task.path: {path}: {rate} Hz, {8 * width} bits, {words.many(channels, 'channel')}; "
            f"needs {wanted} Hz, 16 bits, 1 channel: convert it, or remove it"
        )
    if len(raw) < 2 * min(promised, wanted):
        raise UserError(
            f"task.path: {path}: truncated, {len(raw) // 2} of {promised} samples are there; bring it again, or remove it"
        )
    sound = np.zeros(wanted, dtype=np.float32)
    sound[: len(raw) // 2] = np.frombuffer(raw, dtype="<i2").astype(np.float32) / 32768.0
    return sound
