"""Tests that draw from PyTorch's own generator draw the same alone as after all others."""

from __future__ import annotations

import pytest
import torch
from draws import SHIFT


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(SHIFT)
