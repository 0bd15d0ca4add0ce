"""Which machine a cell goes to: its CPUs, its GPUs, or a machine of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from oscbench import words
from oscbench.records.identity import canonical
from oscbench.runner.cell_spec import Cell
from oscbench.runner.executors import ExecutorError, Machine, Needs, Place
from oscbench.runner.kinds import kind_of
from oscbench.runner.training.specs import time_requests


def needs_of(cell: Cell) -> Needs:
    """What a cell needs while it runs, from its spec."""
    spec, kind = cell.spec, kind_of(cell.spec)
    devices = cell.devices if kind.trains else 1
    on_gpu = spec["device"] == "cuda"
    return Needs(
        cpus=int(spec["threads"]) * devices,
        gpus=devices if on_gpu else 0,
        processes=devices,
        alone=kind.times,
        alike=spec["device"] if kind.times or time_requests(spec) else None,
    )


@dataclass
class _Room:
    """What is free on a machine; one that is away for a moment may come back with cells still on it."""

    machine: Machine
    cpus: int
    gpus: list[int]
    cells: int = 0
    away: bool = False
    alone: bool = False

    @property
    def full(self) -> bool:
        if self.alone:
            return True
        if self.machine.cells is not None:
            return self.cells >= self.machine.cells
        return self.cpus <= 0


@dataclass
class Placement:
    """Hands out places, and takes them back.

    Attributes:
        jobs_per_gpu: cells that share a GPU.
    """

    jobs_per_gpu: int = 1
    _rooms: dict[str, _Room] = field(default_factory=dict)
    _open: dict[str, None] = field(default_factory=dict)
    _kept_for_alone: str | None = None
    _kinds: dict[str, str] = field(default_factory=dict)

    def update(self, machines: Sequence[Machine]) -> None:
        """These are the machines that there are now."""
        there = {one.name: one for one in machines}
        for name, room in list(self._rooms.items()):
            room.away = name not in there
            if room.away:
                self._open.pop(name, None)
                if not room.cells:
                    del self._rooms[name]
            elif not room.full:
                self._open[name] = None
        for name, machine in there.items():
            if name not in self._rooms:
                self._rooms[name] = _Room(machine, machine.cpus, [self.jobs_per_gpu] * machine.gpus)
                self._open[name] = None

    def prove_possible(self, needs: Needs) -> None:
        """Refuse what no machine could ever hold.

        Raises:
            ExecutorError: more GPUs, or more processes on the CPU, are needed than any machine has.
        """
        most = max((room.machine.gpus for room in self._there()), default=0)
        if needs.gpus > most:
            raise ExecutorError(
                f"a cell needs {words.many(needs.gpus, 'GPU')}, and no machine has more than {most}"
            )
        most = max((room.machine.cpus for room in self._there()), default=0)
        if needs.processes > max(1, most):
            raise ExecutorError(
                f"train.devices: {needs.processes}: no machine has more than {words.many(most, 'core')}"
            )

    def capacity(self, needs: Needs) -> int:
        """How many cells with such needs all machines hold at once; at least 1."""
        return max(1, sum(self._holds(room.machine, needs) for room in self._there()))

    def _holds(self, machine: Machine, needs: Needs) -> int:
        if not self._suits(machine, needs):
            return 0
        if needs.alone:
            return 1
        held = machine.cells if machine.cells is not None else machine.cpus // min(needs.cpus, machine.cpus)
        if needs.gpus:
            held = min(
                held, machine.gpus * self.jobs_per_gpu if needs.gpus == 1 else machine.gpus // needs.gpus
            )
        return held

    def take(self, needs: Needs) -> Place | None:
        """A place where a cell can begin now; None where it must wait.

        A cell that must be alone keeps a machine from filling up again until that machine is empty.
        """
        if needs.alone:
            return self._take_alone(needs)
        for name in self._open:
            room = self._rooms[name]
            if name != self._kept_for_alone and self._suits(room.machine, needs) and self._fits(room, needs):
                return self._take(room, needs)
        return None

    def free(self, place: Place) -> None:
        """A cell has left its place."""
        room = self._rooms[place.machine]
        room.cells -= 1
        room.alone = False
        room.cpus += place.cpus
        for index in place.gpus:
            room.gpus[index] += self.jobs_per_gpu // place.shares
        if not room.away:
            self._open[place.machine] = None
        elif not room.cells:
            del self._rooms[place.machine]

    def nobody_waits_alone(self) -> None:
        """No cell waits any longer for a machine of its own."""
        self._kept_for_alone = None

    def kind(self, device: str) -> str:
        """The kind of machine that most have, which cells whose times are compared all go to: chosen once, and again if none is left."""
        kinds = Counter(
            canonical(room.machine.like(device))
            for room in self._there()
            if room.machine.cpus and (device != "cuda" or room.machine.gpus)
        )
        if self._kinds.get(device) not in kinds and kinds:
            self._kinds[device] = min(kinds, key=lambda kind: (-kinds[kind], kind))
        return self._kinds.get(device, "")

    def example(self, device: str) -> Machine | None:
        """A machine of that kind; None where there is none."""
        needs = Needs(gpus=int(device == "cuda"), alike=device)
        return next((room.machine for room in self._there() if self._suits(room.machine, needs)), None)

    def _there(self) -> list[_Room]:
        return [room for room in self._rooms.values() if not room.away]

    def _suits(self, machine: Machine, needs: Needs) -> bool:
        if needs.gpus > machine.gpus or needs.processes > machine.cpus:
            return False
        return needs.alike is None or canonical(machine.like(needs.alike)) == self.kind(needs.alike)

    def _fits(self, room: _Room, needs: Needs) -> bool:
        if room.full:
            return False
        if room.machine.cells is None and room.cpus < min(needs.cpus, room.machine.cpus):
            return False
        if needs.gpus > 1:
            return sum(free == self.jobs_per_gpu for free in room.gpus) >= needs.gpus
        return not needs.gpus or any(room.gpus)

    def _take_alone(self, needs: Needs) -> Place | None:
        suited = [room for room in self._there() if self._suits(room.machine, needs)]
        if not suited:
            return None
        empty = next((room for room in suited if not room.cells), None)
        if empty is None:
            if self._kept_for_alone not in {room.machine.name for room in suited}:
                self._kept_for_alone = min(suited, key=lambda room: room.cells).machine.name
            return None
        self._kept_for_alone = None
        return self._take(empty, Needs(empty.machine.cpus, empty.machine.gpus), alone=True)

    def _take(self, room: _Room, needs: Needs, *, alone: bool = False) -> Place:
        cpus = min(needs.cpus, room.machine.cpus)
        shares = self.jobs_per_gpu if needs.gpus == 1 and not alone else 1
        by_room = sorted(range(len(room.gpus)), key=lambda index: -room.gpus[index])
        gpus = tuple(sorted(by_room[: needs.gpus]))
        for index in gpus:
            room.gpus[index] -= self.jobs_per_gpu // shares
        room.cpus -= cpus
        room.cells += 1
        room.alone = alone
        if room.full:
            self._open.pop(room.machine.name)
        return Place(room.machine.name, cpus, gpus, shares)
