"""Keywords: features against an independent computation, splits as the lists say, every bad recording told in a line."""

from __future__ import annotations

import re
import shutil
import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import get_window

from oscbench import catalog
from oscbench.data.known import KEYWORDS
from oscbench.errors import UserError
from oscbench.models.backbones.frames import Frames, FramesConfig
from oscbench.models.matching import num_parameters
from oscbench.tasks import Batch
from oscbench.tasks.keywords import Keywords, KeywordsConfig, features_of, recordings
from oscbench.tasks.support.in_memory import mixed
from oscbench.tasks.support.sound import speech_synthesis as synthesis
from oscbench.tasks.support.sound.log_mel import RATE, hertz_to_mel, log_mel, mel_to_hertz, mel_triangles
from oscbench.tasks.support.sound.wave_files import read_wave


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "store"))


def sound(seed: int, samples: int = 16_000) -> np.ndarray:
    """A tone of its own in noise, 16 bit."""
    generator = np.random.default_rng(seed)
    tone = np.sin(2 * np.pi * (200 + 37 * seed) * np.arange(samples) / 16_000)
    return (8000 * tone + 500 * generator.standard_normal(samples)).astype("<i2")


def write(path: Path, samples: np.ndarray, rate: int = 16_000, width: int = 2, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four recordings a word; `c` is for validation and `d` for test."""
    place = tmp_path / "speech"
    for index, word in enumerate(KEYWORDS):
        for take, name in enumerate("abcd"):
            write(place / word / f"{name}.wav", sound(4 * index + take, 12_000 + 2_000 * take))
    write(place / "bed" / "a.wav", sound(99))
    (place / "validation_list.txt").write_text("".join(f"{word}/c.wav\n" for word in (*KEYWORDS, "bed")))
    (place / "testing_list.txt").write_text("".join(f"{word}/d.wav\n" for word in KEYWORDS))
    return place


def test_mel_scale_has_its_known_values() -> None:
    hertz = torch.tensor([0.0, 700.0, 1000.0, 8000.0], dtype=torch.float64)
    mel = hertz_to_mel(hertz)
    assert mel.tolist() == pytest.approx([0.0, 781.17, 999.99, 2840.02], abs=0.01)
    assert torch.allclose(mel_to_hertz(mel), hertz)


def test_triangles_hear_one_band_each_and_share_the_middle() -> None:
    weights = mel_triangles()
    assert weights.shape == (257, 40)
    assert bool((weights.sum(0) > 0).all())
    peaks = weights.argmax(0)
    assert bool((peaks.diff() > 0).all())
    # Between the first and the last peak, falling and rising flanks add up to 1.
    assert torch.allclose(weights[peaks[0] + 1 : peaks[-1]].sum(1), torch.ones(1, dtype=torch.float64))


def test_features_agree_with_a_literal_fourier_sum() -> None:
    samples = sound(7).astype(np.float64) / 32768
    wide = np.pad(samples, 256, mode="reflect")
    window = np.zeros(512)
    window[56:456] = get_window("hann", 400, fftbins=True)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(257), np.arange(512)) / 512)
    corners = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 42) / 2595) - 1)
    bins = np.arange(257) * 31.25
    expected = np.empty((49, 40))
    for frame in range(49):
        power = np.abs(waves @ (window * wide[320 * frame : 320 * frame + 512])) ** 2
        for index in range(40):
            triangle = np.interp(bins, corners[index : index + 3], [0, 1, 0], left=0, right=0)
            expected[frame, index] = 10 * np.log10(max(power @ triangle, 1e-10))
    found = log_mel(torch.from_numpy(samples)[None])
    assert found.shape == (1, 49, 40)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-4)
    single = log_mel(torch.from_numpy(samples.astype(np.float32))[None])
    np.testing.assert_allclose(single[0].numpy(), expected, atol=0.05)


def test_silence_is_the_floor() -> None:
    assert log_mel(torch.zeros(1, 16_000)).unique().tolist() == [-100.0]


def test_sound_is_cut_or_padded_to_a_second(tmp_path: Path) -> None:
    long, short = sound(1, 20_000), sound(2, 5_000)
    cut = read_wave(write(tmp_path / "long.wav", long), RATE)
    padded = read_wave(write(tmp_path / "short.wav", short), RATE)
    assert cut.shape == padded.shape == (16_000,)
    np.testing.assert_array_equal(cut, long[:16_000] / np.float32(32768))
    np.testing.assert_array_equal(padded[:5_000], short / np.float32(32768))
    assert not padded[5_000:].any()


def test_lists_say_who_trains(folder: Path) -> None:
    found = recordings(folder)
    assert {split: len(names) for split, names in found.items()} == {
        "train": 20,
        "validation": 10,
        "test": 10,
    }
    assert all(name.endswith(("a.wav", "b.wav")) for name in found["train"])
    task = Keywords(KeywordsConfig(path=str(folder)))
    targets = task.splits["test"].targets.tolist()
    assert sorted(targets) == list(range(10))
    assert targets != sorted(targets, key=lambda i: KEYWORDS[i]), "not in the order of their folders"
    assert task.num_training_examples == 20


def test_features_are_normalised_by_the_training_split_alone(folder: Path) -> None:
    task = Keywords(KeywordsConfig(path=str(folder)))
    train = task.splits["train"].inputs
    assert train.mean((0, 1)).abs().max() < 1e-4
    assert (train.std((0, 1)) - 1).abs().max() < 1e-3
    raw = features_of(folder)
    mean, spread = raw["train.inputs"].mean((0, 1)), raw["train.inputs"].std((0, 1))
    expected = mixed(Batch((raw["test.inputs"] - mean) / spread, raw["test.targets"]))
    assert torch.allclose(task.splits["test"].inputs, expected.inputs, atol=1e-5)
    assert torch.equal(task.splits["test"].targets, expected.targets)


def test_features_are_kept_and_a_changed_recording_is_heard(folder: Path) -> None:
    before = Keywords(KeywordsConfig(path=str(folder))).data_hash()
    assert Keywords(KeywordsConfig(path=str(folder))).data_hash() == before
    write(folder / "go" / "d.wav", sound(1000, 15_000))
    assert Keywords(KeywordsConfig(path=str(folder))).data_hash() != before


def test_batches_come_from_the_order_alone_and_are_scored(folder: Path) -> None:
    task = Keywords(KeywordsConfig(path=str(folder)))
    batches = list(task.training_batches(8, torch.Generator().manual_seed(0), torch.Generator()))
    assert [tuple(batch.inputs.shape) for batch in batches] == [(8, 49, 40), (8, 49, 40), (4, 49, 40)]
    batch = next(task.batches("test", 4))
    right = torch.nn.functional.one_hot(batch.targets, 10).float()
    assert task.scores(right, batch).tolist() == [1, 1, 1, 1]
    assert task.loss(100 * right, batch).item() == pytest.approx(0.0, abs=1e-6)


def _bad_rate(path: Path) -> None:
    write(path, sound(1), rate=8_000)


def _bad_width(path: Path) -> None:
    write(path, sound(1), width=1)


def _bad_channels(path: Path) -> None:
    write(path, sound(1), channels=2)


def _cut_off(path: Path) -> None:
    path.write_bytes(write(path, sound(1)).read_bytes()[:9_000])


def _only_a_header(path: Path) -> None:
    path.write_bytes(write(path, sound(1)).read_bytes()[:20])


def _no_wave(path: Path) -> None:
    path.write_bytes(b"ID3 this is not a WAV file" * 10)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _bad_depth(path: Path) -> None:
    write(path, sound(1), width=4)


def _floating_point(path: Path) -> None:
    whole = bytearray(write(path, sound(1)).read_bytes())
    struct.pack_into("<H", whole, 20, 3)
    path.write_bytes(whole)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (
            _bad_rate,
            "8000 Hz, 16 bits, 1 channel; needs 16000 Hz, 16 bits, 1 channel: convert it, or remove it",
        ),
        (_bad_width, "16000 Hz, 8 bits, 1 channel; needs"),
        (_bad_depth, "16000 Hz, 32 bits, 1 channel; needs"),
        (_bad_channels, "16000 Hz, 16 bits, 2 channels; needs"),
        (_cut_off, "truncated, 4478 of 16000 samples are there; bring it again, or remove it"),
        (_only_a_header, "not a readable PCM WAV file"),
        (_no_wave, "not a readable PCM WAV file"),
        (_empty, r"not a readable PCM WAV file \(it ends too soon\)"),
        (_floating_point, "not a readable PCM WAV file"),
    ],
)
def test_a_bad_recording_is_named_with_its_remedy(folder: Path, spoil: object, expected: str) -> None:
    spoil(folder / "up" / "b.wav")  # type: ignore[operator]
    for use in (Keywords.describe, Keywords):
        with pytest.raises(UserError, match=rf"task\.path: .*up/b\.wav: {expected}") as caught:
            use(KeywordsConfig(path=str(folder)))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spoil", [_bad_rate, _bad_width, _bad_depth, _bad_channels, _cut_off, _no_wave])
def test_a_bad_recording_stops_a_run_before_it_starts(
    folder: Path, spoil: Any, oscbench: Any, tiny: Any, tmp_path: Path
) -> None:
    spoil(folder / "up" / "b.wav")
    suite = tiny(task=f"{{name: keywords, path: {folder}}}", model="{width: 16, heads: 2, layers: 1}")
    ended = oscbench("run", suite)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended
    assert f"task.path: {folder}/up/b.wav: " in ended.err
    assert not (tmp_path / "results").exists()


def test_features_are_made_once_before_anything_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = KeywordsConfig(path=str(folder))
    Keywords.describe(config)
    monkeypatch.setattr("oscbench.tasks.keywords.features_of", None)
    Keywords.describe(config)
    assert Keywords(config).num_training_examples == 20


def test_a_bad_folder_is_refused_before_anything_runs(folder: Path, tmp_path: Path) -> None:
    def refused(match: str, path: Path = folder) -> None:
        with pytest.raises(UserError, match=match) as caught:
            Keywords.describe(KeywordsConfig(path=str(path)))
        assert "\n" not in str(caught.value)

    empty = tmp_path / "empty"
    empty.mkdir()
    refused(r"validation_list\.txt: no such file; give the unpacked folder", empty)
    refused("no such file or folder", tmp_path / "no" / "where")
    (folder / "off" / "c.wav").unlink()
    refused(r"off/c\.wav: no such file, although validation_list\.txt names it")
    (folder / "validation_list.txt").write_text("")
    refused("no recording is left for validation")
    shutil.rmtree(folder / "stop")
    refused(r"no recordings of stop \(word/\*\.wav\)")


def test_without_espeak_and_folder_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"install it \(apt-get install espeak-ng\), or give a folder"):
        Keywords.describe(KeywordsConfig())


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            "exit 1",
            "espeak-ng does not run: .*; install espeak-ng 1.51 or later with its data, or give a folder",
        ),
        (
            "echo eSpeak NG 0",
            "lacks the voices .*Alicia.*; install espeak-ng 1.51 or later with its data, or give a",
        ),
    ],
)
def test_espeak_that_fails_or_lacks_voices_stops_a_run_before_it_starts(
    script: str, expected: str, oscbench: Any, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "espeak-ng"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    ended = oscbench("run", tiny(task="keywords", model="{width: 16, heads: 2, layers: 1}"))
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended
    assert re.search(f"oscbench: .*{expected}", ended.err)
    assert not (tmp_path / "results").exists()


def test_spoken_voices_are_parted_and_their_calls_depend_on_names_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program in espeak-ng's place, so that this runs everywhere: it says what it was asked, as sound."""
    calls = tmp_path / "calls"
    calls.mkdir()
    spoken = write(tmp_path / "said.wav", sound(3, 11_025), rate=22_050)
    program = tmp_path / "bin" / "espeak-ng"
    program.parent.mkdir()
    voices = " ".join(f"!v/{voice}" for voices in synthesis.SPLIT_VOICES.values() for voice in voices)
    program.write_text(
        "#!/bin/sh\n"
        f'case "$1" in --voices=variant) echo "{voices}";; --version) echo "eSpeak NG 0  Data at: x";;\n'
        f'*) echo "$2 $4 $6 $8" > "{calls}/$8 $2 $4 $6"; cat "{spoken}";; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(synthesis, "ACCENTS", ("en-us",))
    place = tmp_path / "words"
    synthesis.speak_into(place, ("go", "stop"))
    names = sorted(path.relative_to(place).as_posix() for path in place.rglob("*.wav"))
    assert len(names) == 2 * 2 * sum(len(voices) for voices in synthesis.SPLIT_VOICES.values())
    assert len(list(calls.iterdir())) == len(names)
    with wave.open(str(place / names[0])) as file:
        assert (file.getframerate(), file.getnframes()) == (16_000, 16_000)
    again = [(tmp_path / "again" / name, place / name) for name in names]
    first = {path.name for path in calls.iterdir()}
    synthesis.speak_into(tmp_path / "again", ("go", "stop"))
    assert {path.name for path in calls.iterdir()} == first
    assert all(one.read_bytes() == two.read_bytes() for one, two in again)
    listed = (place / "testing_list.txt").read_text().split()
    assert {name.partition("/")[2].partition("_")[0] for name in listed} == set(
        synthesis.SPLIT_VOICES["test"]
    )


def test_noise_is_pink() -> None:
    noise = synthesis.pink_noise(2**18, torch.Generator().manual_seed(0))
    power = torch.fft.rfft(noise).abs().square()
    octaves = [power[2**k : 2 ** (k + 1)].sum() for k in range(11, 17)]
    assert max(octaves) / min(octaves) < 1.1


def test_no_voice_is_heard_in_two_splits() -> None:
    voices = [voice for split in synthesis.SPLIT_VOICES.values() for voice in split]
    assert len(set(voices)) == len(voices) == 40


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_espeak_speaks_every_keyword_the_same_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis, "ACCENTS", ("en-us",))
    monkeypatch.setattr(synthesis, "TAKES", 1)
    few = {"train": ("f1", "m1"), "validation": ("belinda",), "test": ("adam",)}
    monkeypatch.setattr(synthesis, "SPLIT_VOICES", few)
    one = Keywords(KeywordsConfig())
    assert {split: len(batch.targets) for split, batch in one.splits.items()} == {
        "train": 20,
        "validation": 10,
        "test": 10,
    }
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "another"))
    assert Keywords(KeywordsConfig()).data_hash() == one.data_hash()
    raw = one.splits["train"].inputs
    assert raw.flatten(1).unique(dim=0).shape[0] == 20


@pytest.mark.parametrize(("name", "published"), [("softmax", 14_250), ("fixed_query", 14_446)])
def test_parameters_are_the_papers_but_for_biases_and_a_last_norm(name: str, published: int) -> None:
    """Theirs has no bias on q, k, v (3 · 32 in ours), no norm before pooling (2 · 32), and anchors on the circle."""
    mechanism = catalog.load("mechanisms", name)
    settings = mechanism.Config(d_osc=2) if name == "fixed_query" else mechanism.Config()
    model = Frames(FramesConfig(position="none"), Keywords.inputs, mechanism, settings, hidden=None, seed=0)
    biases = sum(
        parameter.numel()
        for part, parameter in model.trunk.mechanism.named_parameters()
        if part.endswith(("q.bias", "k.bias", "v.bias"))
    )
    last_norm = num_parameters(model.trunk.final_norm)
    assert last_norm == 64
    assert num_parameters(model) - biases - last_norm == published


@pytest.mark.parametrize("name", catalog.names("mechanisms"))
def test_every_mechanism_hears_frames(name: str) -> None:
    mechanism = catalog.load("mechanisms", name)
    model = Frames(
        FramesConfig(width=16), Keywords.inputs, mechanism, mechanism.Config(), hidden=None, seed=0
    )
    frames = torch.randn(3, 49, 40, generator=torch.Generator().manual_seed(0))
    output = model(frames, diagnostics=True)
    assert output.prediction.shape == (3, 10)
    assert output.diagnostics[0]["attention"].shape == (3, 2, 49, 49)
    assert model.flops() > 2 * 49 * 40 * 16
    output.prediction.square().sum().backward()
    assert bool(model.front.weight.grad.abs().sum() > 0)
