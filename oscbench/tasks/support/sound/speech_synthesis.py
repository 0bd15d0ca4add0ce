"""Words spoken by espeak-ng in many voices, laid out like Speech Commands: real sound where no recordings are at hand.

espeak-ng is a formant synthesiser: the same call gives the same bytes. A voice is one of its variants of the vocal tract; each speaks in
several accents, at speeds and pitches drawn from a stream of its own, somewhere within a second, in pink noise. Without noise every model is
at 99 % and nothing can be compared. Voices are parted between the splits, so that those of validation and test are unheard in training.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from scipy.signal import resample_poly
from torch import Tensor
from tqdm import tqdm

from oscbench.errors import UserError, first_line
from oscbench.models.trunk import named_seed
from oscbench.tasks.support.sound.log_mel import RATE

SPEECH_SEED = 20_260_103
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-029")
TAKES = 2
SPEEDS, PITCHES = (110, 240), (15, 85)
SPEECH_OVER_NOISE_DB = (6.0, 18.0)
SPLIT_VOICES = {
    "train": (
        *(
            "f1",
            "f2",
            "f4",
            "m1",
            "m2",
            "m4",
            "m5",
            "m7",
            "Alicia",
            "Andy",
            "Annie",
            "aunty",
            "benjamin",
            "boris",
        ),
        *("david", "Denis", "ed", "edward", "Gene", "Hugo", "iven", "john", "linda", "Marco"),
    ),
    "validation": ("f5", "m8", "belinda", "caleb", "Diogo", "zac"),
    "test": ("f3", "m3", "m6", "adam", "Andrea", "antonio", "grandma", "max", "steph", "victor"),
}
RECORDINGS = (
    "or give a folder of Speech Commands v0.02 (or its name: oscbench data add speech_commands --from PATH)"
)
REMEDY = f"install espeak-ng 1.51 or later with its data, {RECORDINGS}"
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}


def program() -> str:
    """Path of espeak-ng.

    Raises:
        UserError: it is not installed.
    """
    found = shutil.which("espeak-ng")
    if found is None:
        raise UserError(
            "task.path: not given, and espeak-ng, which would speak the words, is not installed; "
            f"install it (apt-get install espeak-ng), {RECORDINGS}"
        )
    return found


def version() -> str:
    """What espeak-ng says of itself; other versions speak otherwise, so this is part of the recipe."""
    return _said("--version").split("Data at")[0].strip()


def recipe(words: tuple[str, ...]) -> dict[str, object]:
    """All that decides what is said."""
    return {
        "words": words,
        "version": version(),
        "seed": SPEECH_SEED,
        "accents": ACCENTS,
        "takes": TAKES,
        "speeds": SPEEDS,
        "pitches": PITCHES,
        "speech over noise": SPEECH_OVER_NOISE_DB,
        "voices": SPLIT_VOICES,
        "rate": RATE,
    }


def speak_into(folder: Path, words: tuple[str, ...]) -> None:
    """Write `word/voice_accent_take.wav` for every word, 16 kHz mono 16 bit, and the lists of validation and test.

    Raises:
        UserError: espeak-ng is not there, lacks a voice, or fails.
    """
    missing = sorted({voice for voices in SPLIT_VOICES.values() for voice in voices} - _variants())
    if missing:
        raise UserError(f"task.path: this espeak-ng lacks the voices {', '.join(missing)}; {REMEDY}")
    jobs = [
        (split, f"{word}/{voice}_{accent}_{take}.wav", word, voice, accent)
        for split, voices in SPLIT_VOICES.items()
        for voice in voices
        for accent in ACCENTS
        for take in range(TAKES)
        for word in words
    ]
    for word in words:
        (folder / word).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:  # the work is done by processes
        spoken = pool.map(lambda job: _record(folder, *job[1:]), jobs)
        # A minute or two of silence on a terminal would look like a fault.
        for _ in tqdm(spoken, "words spoken by espeak-ng, once", len(jobs), leave=False, disable=None):
            pass
    for split, name in LISTS.items():
        (folder / name).write_text("".join(f"{job[1]}\n" for job in jobs if job[0] == split))


def _record(folder: Path, name: str, word: str, voice: str, accent: str) -> None:
    """Say a word and write it as a second of 16-bit PCM; its name decides speed, pitch, place and noise."""
    generator = torch.Generator().manual_seed(named_seed(SPEECH_SEED, name))
    speed, pitch = (
        int(torch.randint(low, high + 1, (), generator=generator)) for low, high in (SPEEDS, PITCHES)
    )
    command = [program(), "-v", f"{accent}+{voice}", "-s", str(speed), "-p", str(pitch), "--stdout", word]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode or not done.stdout:
        raise UserError(f"task.path: {' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    speech = _samples(done.stdout)[:RATE]
    sound = torch.zeros(RATE, dtype=torch.float64)
    start = int(torch.randint(RATE - len(speech) + 1, (), generator=generator))
    sound[start : start + len(speech)] = speech
    low, high = SPEECH_OVER_NOISE_DB
    decibel = low + (high - low) * float(torch.rand((), generator=generator))
    noise = pink_noise(RATE, generator)
    noise *= (speech.square().mean() / noise.square().mean()).sqrt() * 10.0 ** (-decibel / 20.0)
    sound += noise
    # The loudest sample stays below full scale, so that nothing is clipped.
    pcm = (sound * (29_000.0 / sound.abs().max())).round().numpy().astype("<i2")
    with wave.open(str(folder / name), "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(RATE)
        target.writeframes(pcm.tobytes())


def pink_noise(samples: int, generator: torch.Generator) -> Tensor:
    """Noise whose power falls with 1/f above 20 Hz, as that of rooms does; float64, arbitrary level."""
    spectrum = torch.fft.rfft(torch.randn(samples, dtype=torch.float64, generator=generator))
    frequencies = torch.fft.rfftfreq(samples, 1 / RATE, dtype=torch.float64)
    noise: Tensor = torch.fft.irfft(spectrum / frequencies.clamp_min(20.0).sqrt(), samples)
    return noise


def _samples(spoken: bytes) -> Tensor:
    """What espeak-ng wrote to a pipe, at 16 kHz, float64."""
    with wave.open(io.BytesIO(spoken)) as source:
        rate = source.getframerate()
        # To a pipe, it writes a header that promises more than it says; what came is what there is.
        samples = np.frombuffer(source.readframes(len(spoken)), dtype="<i2").astype(np.float64)
    return torch.from_numpy(resample_poly(samples, RATE, rate) if rate != RATE else samples)


def _variants() -> set[str]:
    """Files of the voice variants that this espeak-ng has."""
    said = _said("--voices=variant").split()
    return {word.removeprefix("!v/") for word in said if word.startswith("!v/")}


def _said(question: str) -> str:
    """What espeak-ng answers.

    Raises:
        UserError: it does not run.
    """
    try:
        return subprocess.run([program(), question], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"task.path: espeak-ng does not run: {first_line(error)}; {REMEDY}") from error
