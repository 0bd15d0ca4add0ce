"""Where a cell ran, read back from the machine and from torch, never as asked for."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    import torch

import oscbench

PACKAGES = ("torch", "numpy", "scikit-learn", "torchdiffeq", "xformers", "triton")


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, processor, threads as they are set now, and the accelerator with its driver where there is one."""
    import torch

    found: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "threads": torch.get_num_threads(),
        "device": str(device),
        "packages": packages(),
        "deterministic": torch.are_deterministic_algorithms_enabled()
        and not torch.is_deterministic_algorithms_warn_only_enabled(),
        "load_average": os.getloadavg()[0],
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "accelerator": properties.name,
            "accelerator_index": _index(device),
            "accelerator_memory_bytes": properties.total_memory,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return found


def packages() -> dict[str, str | None]:
    """Our own version, of the code that runs here and not of what happens to be installed, and those of what it stands on."""
    return {"oscbench": oscbench.__version__, **{name: package_version(name) for name in PACKAGES}}


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def nature(gpus: int) -> dict[str, Any]:
    """What times measured here belong to, read without touching CUDA, nor torch where there is no GPU.

    No host name: a container that starts again is the same machine under another name.

    Args:
        gpus: how many there are for cells; with none, none is named.
    """
    found = {"processor": _processor(), "cores": os.cpu_count(), "torch": package_version("torch")}
    if gpus:
        from torch.version import cuda

        found |= {"accelerator": _gpu_name(), "cuda": cuda}
    return found


def _gpu_name() -> str | None:
    """Name of the first GPU that this process may see, from its driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
        if seen.startswith("GPU-"):
            handle = pynvml.nvmlDeviceGetHandleByUUID(seen)
        else:
            handle = pynvml.nvmlDeviceGetHandleByIndex(int(seen) if seen.isdigit() else 0)
        return str(pynvml.nvmlDeviceGetName(handle))
    except pynvml.NVMLError:
        return None


def _index(device: torch.device) -> str:
    """Which of the machine's GPUs it is, as `CUDA_VISIBLE_DEVICES` names them."""
    place = device.index or 0
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return seen.split(",")[place].strip() if seen else str(place)


def memory_of(device: str) -> int:
    """Bytes of memory that `cpu` or `cuda` has."""
    if device == "cuda":
        import torch

        return int(torch.cuda.get_device_properties(0).total_memory)
    return int(psutil.virtual_memory().total)


def package_version(name: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@lru_cache(maxsize=1)
def commit() -> tuple[str | None, bool | None]:
    """Commit of the checkout that this package runs from and whether it was changed since; (None, None) outside one.

    A file of the package that git does not know is a change as well: a mechanism of one's own that nobody has committed.
    """
    folder = Path(__file__).resolve().parent.parent.parent
    if not (folder / ".git").exists():
        return None, None
    try:
        head = _git(folder, "rev-parse", "HEAD")
        new = ("ls-files", "--others", "--exclude-standard", "--", "oscbench/*.py")
        changed = bool(_git(folder, "status", "--porcelain", "--untracked-files=no") or _git(folder, *new))
    except (OSError, subprocess.SubprocessError):
        return None, None
    return head, changed


def _git(folder: Path, *arguments: str) -> str:
    # A status may write the index anew, and a cell that is killed meanwhile would leave the checkout locked.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
