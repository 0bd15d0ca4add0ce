"""Log-mel features of one second of speech, as the keyword recipe has them (arXiv 2606.12059): 49 frames of 40 bins in dB.

Short-time power spectrum (512 points, a Hann window of 400, a hop of 320 samples, centred with reflection), 40 triangles that are
equally spaced in mel between 0 and 8 kHz with peaks of height 1, and 10 log10 of their sums. At another sampling rate the same durations.
"""

from __future__ import annotations

import torch
from torch import Tensor

RATE = 16_000
NUM_BINS, NUM_FRAMES = 40, 49
TRANSFORM, WINDOW, HOP = 512, 400, 320
FLOOR = 1e-10


def hertz_to_mel(hertz: Tensor) -> Tensor:
    """2595 log10(1 + f/700), the mel scale of O'Shaughnessy (1987) that HTK made common; 1 kHz is 1000 mel."""
    return 2595.0 * torch.log10(1.0 + hertz / 700.0)


def mel_to_hertz(mel: Tensor) -> Tensor:
    """The inverse."""
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def mel_triangles(rate: int = RATE) -> Tensor:
    """Weights (rate/62.5 + 1, 40) in float64: how much of each frequency of the transform each bin hears."""
    top = hertz_to_mel(torch.tensor(rate / 2, dtype=torch.float64))
    corners = mel_to_hertz(torch.linspace(0.0, float(top), NUM_BINS + 2, dtype=torch.float64))
    frequencies = torch.linspace(0.0, rate / 2, _samples(TRANSFORM, rate) // 2 + 1, dtype=torch.float64)[
        :, None
    ]
    low, peak, high = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (frequencies - low) / (peak - low), (high - frequencies) / (high - peak)
    return torch.minimum(rising, falling).clamp_min(0.0)


def log_mel(waves: Tensor, rate: int = RATE) -> Tensor:
    """Waves (B, rate) in [-1, 1], one second at `rate` [Hz], to features (B, 49, 40) [dB], float32."""
    window_samples = _samples(WINDOW, rate)
    window = torch.hann_window(window_samples, periodic=True, dtype=waves.dtype)
    spectrum = torch.stft(
        waves,
        _samples(TRANSFORM, rate),
        hop_length=_samples(HOP, rate),
        win_length=window_samples,
        window=window,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    power = spectrum.abs().square().transpose(1, 2)[:, :NUM_FRAMES]
    bins = power @ mel_triangles(rate).to(power.dtype)
    return (10.0 * torch.log10(bins.clamp_min(FLOOR))).float()


def _samples(count: int, rate: int) -> int:
    """As long a stretch at another rate."""
    return count * rate // RATE
