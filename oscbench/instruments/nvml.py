"""NVML's view of the GPU that a torch device is, whatever `CUDA_VISIBLE_DEVICES` hides and in whatever order."""

from __future__ import annotations

from typing import Any

import torch


def handle_of(device: torch.device) -> Any:
    """NVML's handle of a CUDA device.

    Raises:
        pynvml.NVMLError: there is no driver, or it does not know the device.
    """
    import pynvml

    pynvml.nvmlInit()
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    return pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
