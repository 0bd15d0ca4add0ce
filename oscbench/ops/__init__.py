"""The mathematics: pure functions of tensors, each with a literal `reference` and exact fast backends.

All ops take (B, H, N, d) tensors in float64, float32, bfloat16 or float16 and return the input dtype. Three laws hold in
every backend: causality, padding, exactness (see README.md beside this file).
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable
from functools import lru_cache
from importlib.machinery import FileFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from oscbench.errors import allowed, kind_and_line, kind_of
from oscbench.ops.dispatch import BackendName, Call
from oscbench.ops.fixed_query import fixed_query_attention
from oscbench.ops.kope import kope_attention
from oscbench.ops.kuramoto import kuramoto_step
from oscbench.ops.op import Op
from oscbench.ops.phases import mix_phases, rotate
from oscbench.ops.softmax import softmax_attention
from oscbench.ops.synchronization import selective_synchronization
from oscbench.ops.torus import torus_attention

_SINGLE = ("rotate", "mix_phases")


def op_names() -> list[str]:
    """Names of the ops that have more than one backend: those whose file is in this folder."""
    return list(_modules(tuple(__path__)))


def op_of(op_name: str) -> Op:
    """The op of a name, which knows its backends, its cost and sample inputs.

    Raises:
        ValueError: there is no such op.
    """
    found = _modules(tuple(__path__))
    if op_name in (wrong := broken()):
        raise ValueError(f'op "{op_name}" is broken: {wrong[op_name]}')
    if op_name not in found:
        raise ValueError(f'no op "{op_name}"; {allowed(op_name, [*found, *_SINGLE])}')
    made: Op = found[op_name].op
    return made


def function_of(op_name: str) -> Callable[..., Any]:
    """The public function of an op.

    Raises:
        ValueError: there is no such op.
    """
    name = op_of(op_name).name
    function: Callable[..., Any] = getattr(_modules(tuple(__path__))[name], name)
    return function


def broken() -> dict[str, str]:
    """Files whose last line says that they are an op and that are none, each with why."""
    return dict(_found(tuple(__path__))[1])


def _modules(folders: tuple[str, ...]) -> dict[str, ModuleType]:
    """Modules and packages of ops in the order of their ranks, by the op's name."""
    return _found(folders)[0]


@lru_cache
def _found(folders: tuple[str, ...]) -> tuple[dict[str, ModuleType], dict[str, str]]:
    """Modules and packages whose last line says that they are an op; those that cannot be loaded apart, so that they cost no other op."""
    found, wrong = [], {}
    for info in pkgutil.iter_modules(folders):
        if not (isinstance(info.module_finder, FileFinder) and _is_op(info.module_finder.path, info.name)):
            continue
        file = f"oscbench/ops/{info.name}"
        try:
            module = importlib.import_module(f"{__name__}.{info.name}")
        except Exception as error:
            wrong[info.name] = f"{file}: {kind_and_line(error)}"
            continue
        if not isinstance(module.op, Op):
            wrong[info.name] = f"{file}: op is {kind_of(module.op)}; wanted: an Op, as in `op = OP`"
        elif not callable(getattr(module, module.op.name, None)):
            wrong[info.name] = f"{file}: has no function {module.op.name}, which its op is called"
        else:
            found.append(module)
    ranked = sorted(found, key=lambda one: (one.op.rank, one.op.name))
    return {module.op.name: module for module in ranked}, wrong


def _is_op(folder: str, name: str) -> bool:
    """Whether a file's last line names an op; read, and not imported, since backends register kernels when they are."""
    package = Path(folder) / name / "__init__.py"
    path = package if package.is_file() else Path(folder) / f"{name}.py"
    last = path.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2]
    return re.fullmatch(r"op = \w+(  #.*)?", last) is not None


def backends(op_name: str, device: str | torch.device = "cpu") -> list[BackendName]:
    """Backends of an op that can run on a device; each is a `str` for `backend=`, with a `.note` on what it really runs.

    Raises:
        ValueError: there is no such op.
    """
    if op_name in _SINGLE:
        return [BackendName("reference", "the only form; it takes no backend argument")]
    return op_of(op_name).available(torch.device(device))


def why_not(op_name: str, device: str | torch.device = "cpu") -> dict[str, str | None]:
    """For each backend of an op the reason it cannot run on a device, or None where it can.

    Raises:
        ValueError: there is no such op.
    """
    call = Call(torch.device(device))
    return {b.name: b.why_not(call) for b in op_of(op_name).backends.values()}


__all__ = [
    "BackendName",
    "backends",
    "broken",
    "fixed_query_attention",
    "function_of",
    "kope_attention",
    "kuramoto_step",
    "mix_phases",
    "op_names",
    "op_of",
    "rotate",
    "selective_synchronization",
    "softmax_attention",
    "torus_attention",
    "why_not",
]
