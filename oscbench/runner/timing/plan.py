"""From a suite of `kind: timing` to its cells: one cell is one size, with all of its contenders in one process."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import ValidationError

from oscbench import catalog, ops
from oscbench.errors import nearest
from oscbench.machine.environment import memory_of
from oscbench.ops.op import OpSize
from oscbench.records import identity, protocol
from oscbench.records.timed import timed
from oscbench.runner.cell_spec import Cell
from oscbench.runner.timing.models import make_model
from oscbench.runner.timing.ops import kernels_on, literal_bytes
from oscbench.settings import spelled
from oscbench.suite import LoadedSuite, SuiteError, explain
from oscbench.suite.timing import ContenderEntry, Setting, TimingSuite

VERSION = 2
"""Raised when what is timed, or how, changes: times of two versions are never mixed."""
DEFAULT_REFERENCE = {"ops": "softmax_attention:sdpa"}
LITERAL = ("reference", "sdpa[math]")
ONLY_KEYS = ("batch", "tokens")

Spec = dict[str, Any]


def timing_cells(loaded: LoadedSuite, only: list[str], asked: str, device: str) -> list[Cell]:
    """Every cell of a suite that times, as `training_cells` has those of one that trains."""
    del asked  # a record of times says the device alone
    suite, source = loaded.suite, loaded.source
    if not isinstance(suite, TimingSuite):
        raise TypeError(f"{source}: not a suite that times")
    given = {"source": source, **suite.model_dump(mode="json", exclude_unset=True)}
    return [
        Cell(loaded.label, suite.description, given, spec, identity(spec), protocol(spec))
        for spec in timing_specs(suite, source, device, only)
    ]


def timing_specs(suite: TimingSuite, source: str, device: str, only: list[str]) -> list[Spec]:
    """The resolved spec of every cell, and nothing that cannot run.

    Raises:
        SuiteError: an unknown name or setting, an impossible size, or more memory than there is; names the place.
    """
    if device not in suite.settings:
        raise SuiteError(f"{source}: settings: there are none for {device}")
    contenders = _contenders(suite, source, device)
    reference = suite.reference or DEFAULT_REFERENCE.get(suite.family, "softmax")
    keys = [contender["key"] for contender in contenders]
    if reference not in keys:
        raise SuiteError(f'{source}: reference: got "{reference}"; {nearest(reference, keys)}')
    specs = []
    for index, setting in enumerate(suite.settings[device]):
        place = f"{source}: settings.{device}[{index}]"
        for batch in setting.batch:
            for size in setting.image if suite.family == "vision" else setting.tokens:
                spec = _spec(suite, setting, contenders, reference, device, batch, size)
                _prove_possible(spec, f"{place} ({spec['variant']})")
                specs.append(spec)
    return _selected(specs, only)


def _spec(
    suite: TimingSuite,
    setting: Setting,
    contenders: list[Spec],
    reference: str,
    device: str,
    batch: int,
    size: int,
) -> Spec:
    shared = setting.model_dump(mode="json", exclude={"batch", "tokens", "image"})
    tokens = size
    if suite.family == "vision":
        shared["side"] = size
        tokens = (size // setting.patch) ** 2 + 1
    label = f"D{setting.width}-H{setting.heads}-{setting.dtype}"
    if suite.family != "ops":
        label += f"-L{setting.layers}"
    if setting.causal:
        label += "-causal"
    return {
        "kind": "timing",
        "family": suite.family,
        "task": {"name": f"timing_{suite.family}"},
        "mechanism": {"name": timed(contenders)},
        "variant": f"B{batch}-N{tokens}-{label}",
        "seed": 0,
        "setting_label": label,
        "batch": batch,
        "tokens": tokens,
        "setting": shared,
        "contenders": contenders,
        "reference": reference,
        "effort": suite.effort.model_dump(mode="json"),
        "measures": [],
        "device": device,
        "threads": suite.threads,
        "versions": {
            "timing": VERSION,
            "mechanisms": {
                contender["name"]: catalog.load("mechanisms", contender["name"]).version
                for contender in contenders
                if suite.family != "ops"
            },
        },
    }


def _contenders(suite: TimingSuite, source: str, device: str) -> list[Spec]:
    known = ops.op_names() if suite.family == "ops" else catalog.names("mechanisms")
    entries = suite.contenders or [ContenderEntry(name=name) for name in known]
    found: list[Spec] = []
    for index, entry in enumerate(entries):
        where = f"{source}: contenders[{index}]"
        if suite.family == "ops":
            if entry.name not in known:
                raise SuiteError(f'{where}.name: got "{entry.name}"; {nearest(entry.name, known)}')
            found += _op_contenders(entry, where, device)
        else:
            found.append(_mechanism_contender(entry, where))
    keys = [contender["key"] for contender in found]
    for key in keys:
        if keys.count(key) > 1:
            raise SuiteError(f'{source}: contenders: "{key}" is there twice; give one a variant of its own')
    return found


def _op_contenders(entry: ContenderEntry, where: str, device: str) -> list[Spec]:
    here = [str(name) for name in ops.backends(entry.name, device)]
    fused = ops.op_of(entry.name).kernels_of
    kernels = [f"{fused}[{name}]" for name in kernels_on(device)] if fused else []
    wanted = here + kernels if entry.backends == ["all"] else entry.backends
    for name in wanted:
        if name not in here + kernels:
            reason = ops.why_not(entry.name, device).get(name)
            hint = reason or nearest(name, here + kernels)
            raise SuiteError(f'{where}.backends: "{name}" cannot run on {device}; {hint}')
    return [
        {"key": f"{entry.name}:{backend}", "name": entry.name, "backend": backend, "settings": {}}
        for backend in wanted
    ]


def _mechanism_contender(entry: ContenderEntry, where: str) -> Spec:
    try:
        found = catalog.load("mechanisms", entry.name)
    except catalog.UnknownNameError as error:
        raise SuiteError(f"{where}.name: {error}") from error
    try:
        config = found.Config.model_validate(entry.settings, strict=True)
    except ValidationError as error:
        raise SuiteError(f"{where}.{explain(error, found.Config, ('settings',))}") from error
    key = entry.name if entry.variant == "default" else f"{entry.name}:{entry.variant}"
    return {"key": key, "name": entry.name, "backend": "auto", "settings": spelled(config)}


def left_out(spec: Spec, contender: Spec) -> str | None:
    """Why a contender is not timed at this size, or None."""
    if spec["family"] != "ops" or contender["backend"] not in LITERAL:
        return None
    # A literal backend with n numbers a pair reaches the same memory at √n times fewer tokens.
    size = op_size(spec)
    limit = spec["setting"]["literal_up_to"] / ops.op_of(contender["name"]).pair_numbers(size.width) ** 0.5
    if size.tokens > limit:
        return f"its N × N tensors are left out beyond {limit:.0f} tokens"
    return None


def _prove_possible(spec: Spec, place: str) -> None:
    """Build every model without memory, and hold what is known of memory against what there is."""
    setting = spec["setting"]
    if spec["family"] == "vision" and setting["side"] % setting["patch"]:
        raise SuiteError(
            f"{place}: patch {setting['patch']} does not divide images of {setting['side']} pixels"
        )
    here = memory_of(spec["device"])
    size = op_size(spec)
    if spec["family"] == "ops":
        for contender in spec["contenders"]:
            if left_out(spec, contender) is None:
                needed = _needed_bytes(contender, size)
                if needed > here:
                    told = f"needs about {needed / 2**30:.1f} GiB of {here / 2**30:.1f} GiB"
                    raise SuiteError(f"{place}: {contender['key']} {told}; lower literal_up_to or the sizes")
        return
    for contender in spec["contenders"]:
        try:
            with torch.device("meta"):
                make_model(spec["family"], contender, setting, spec["tokens"])
        except ValueError as error:
            raise SuiteError(f"{place}: {contender['key']}: {error}") from error


def _needed_bytes(contender: Spec, size: OpSize) -> int:
    if contender["backend"] in LITERAL:
        return literal_bytes(contender["name"], size)
    return 64 * size.batch * size.heads * size.tokens * size.width


def op_size(spec: Spec) -> OpSize:
    """The call of an op in a cell."""
    setting = spec["setting"]
    width = setting["width"] // setting["heads"]
    return OpSize(spec["batch"], setting["heads"], spec["tokens"], width, setting["causal"])


def _selected(specs: list[Spec], only: list[str]) -> list[Spec]:
    for choice in only:
        key, equals, text = choice.partition("=")
        if not equals or key not in ONLY_KEYS:
            raise SuiteError(f"--only {choice}: a timing suite knows batch=… and tokens=…")
        known = {str(spec[key]) for spec in specs}
        wanted = text.split(",")
        for value in wanted:
            if value not in known:
                raise SuiteError(f'--only {choice}: no cell has {key} "{value}"; {nearest(value, known)}')
        specs = [spec for spec in specs if str(spec[key]) in wanted]
    if not specs:
        raise SuiteError("--only leaves no cell" if only else "no cell to time")
    return specs
