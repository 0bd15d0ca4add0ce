"""Weights of a trained cell, as safetensors beside its record, and the model that they make again."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from oscbench.errors import UserError
from oscbench.models.backbones import Backbone
from oscbench.records import Record, Store
from oscbench.runner.training.room import NoRoomError
from oscbench.runner.training.specs import parts_of


class WeightsError(UserError):
    """Weights that are not there, or not those of this cell."""


def packed(model: torch.nn.Module, identity: str) -> bytes:
    """All parameters and persistent buffers as a safetensors file; a tensor that two modules share is there once."""
    tensors: dict[str, torch.Tensor] = {}
    seen: set[tuple[int, torch.Size]] = set()
    for name, tensor in model.state_dict().items():
        key = (tensor.data_ptr(), tensor.shape)
        if tensor.numel() and key in seen:
            continue
        seen.add(key)
        tensors[name] = tensor.detach().cpu().contiguous()
    return safetensors.torch.save(tensors, {"identity": identity})


def load_trained(record: Record, results: Path) -> Backbone:
    """The model of a record as training left it, in evaluation mode.

    Args:
        record: of a cell that ran with `--keep weights`.
        results: folder that holds it.

    Raises:
        WeightsError: there are none, or they do not fit.
    """
    path = Store(results).weights_path(record)
    if record.status != "ok":
        raise WeightsError(f"{path}: no weights; the cell is {record.status} ({record.reason})")
    if record.matching is None:
        raise WeightsError(f"{path}: the record has no trained model")
    try:
        tensors = safetensors.torch.load(path.read_bytes())
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no weights; run the suite with --keep weights") from error
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: weights cannot be read ({error})") from error
    parts = parts_of(record.spec)
    inputs = parts.task_class.describe(parts.task_config)
    hidden = record.matching.hidden
    try:
        model = parts.build(record.spec["mechanism"], hidden, record.seed, inputs, training=False)
    except NoRoomError as error:
        raise WeightsError(f"{path}: the model {error}") from error
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in tensors and not _shares(wanted, name, tensors)]
    unlike = [
        name for name, tensor in tensors.items() if name not in wanted or wanted[name].shape != tensor.shape
    ]
    if wrong := missing + unlike:
        raise WeightsError(f"{path}: weights of another model ({wrong[0]})")
    model.load_state_dict(tensors, strict=False)
    return model.eval()


def _shares(wanted: dict[str, torch.Tensor], name: str, there: dict[str, torch.Tensor]) -> bool:
    """Whether a tensor is one with another that is there."""
    own = (wanted[name].data_ptr(), wanted[name].shape)
    return any((wanted[other].data_ptr(), wanted[other].shape) == own for other in there if other in wanted)
