"""Where a training stood, so that a cell that is killed goes on there: model, optimiser, schedule, streams and history.

Law: killed at any step and gone on on the same kind of processor, the record is the same bit for bit except for times. What is not
kept is built again from the seed: the start values, the data, and what measures saw before training.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import torch

from oscbench.errors import UserError, first_line
from oscbench.machine.environment import commit
from oscbench.measures import History
from oscbench.runner.training.graph import with_own_rates
from oscbench.tasks import Batch, Task

FORMAT = 2
"""Raised when a checkpoint holds other things: older ones are then begun anew."""


@dataclass
class Training:
    """The live parts of a training run, and where it stands.

    Attributes:
        model: in training.
        optimizer: of the model.
        schedule: of the optimiser.
        order: stream of the order of examples.
        augmentation: stream of their augmentation.
        history: so far.
        done: steps.
        validated: step of the last validation after an epoch.
        taken: batches of the epoch in progress.
    """

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    order: torch.Generator
    augmentation: torch.Generator
    history: History
    done: int = 0
    validated: int = 0
    taken: int = 0
    _streams: tuple[torch.Tensor, torch.Tensor] | None = None
    _random: list[torch.Tensor] | None = None

    def epoch(self, task: Task, batch_size: int) -> Iterator[Batch]:
        """The batches of an epoch; after `restore`, those that are left of the one in which the checkpoint was made."""
        self._streams = self.order.get_state(), self.augmentation.get_state()
        batches = iter(task.training_batches(batch_size, self.order, self.augmentation))
        if self._random is None:
            self.taken = 0
            return batches
        for _ in range(self.taken):  # made again, since that moves their streams on
            next(batches)
        self.set_random()
        return batches

    def set_random(self) -> None:
        """The random streams as they stood in the checkpoint, if training goes on from one; once."""
        if self._random is None:
            return
        torch.set_rng_state(self._random[0])
        for device, state in enumerate(self._random[1:]):
            torch.cuda.set_rng_state(state, device)
        self._random = None

    def stepped(self) -> None:
        """One more batch has been learnt from."""
        self.done += 1
        self.taken += 1

    def captured(self) -> dict[str, Any]:
        """Everything that a later process cannot work out."""
        assert self._streams is not None
        random = [torch.get_rng_state()]
        if torch.cuda.is_available():
            random += torch.cuda.get_rng_state_all()
        return {
            "tensors": self._tensors(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "streams": list(self._streams),
            "random": random,
            "place": [self.done, self.validated, self.taken],
            "history": asdict(self.history),
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Stand where a checkpoint stood; `epoch` then passes over the batches that were taken, and sets dropout's stream."""
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                tensor.copy_(kept["tensors"][name])
        with_own_rates(self.optimizer, lambda: self.optimizer.load_state_dict(kept["optimizer"]))
        self.schedule.load_state_dict(kept["schedule"])
        self.done, self.validated, self.taken = kept["place"]
        self._streams = kept["streams"][0], kept["streams"][1]
        self.order.set_state(kept["streams"][0])
        self.augmentation.set_state(kept["streams"][1])
        for name, value in kept["history"].items():
            setattr(self.history, name, value)
        self._random = kept["random"]

    def _tensors(self) -> dict[str, torch.Tensor]:
        """Parameters and all buffers, those too that weights go without."""
        return {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}


@dataclass
class Checkpoints:
    """The checkpoint of one cell.

    Attributes:
        url: folder, or whatever fsspec knows (`s3://bucket/folder`).
        identity: of the cell.
        minutes: between two checkpoints; a cell that takes no longer leaves none.
        tell: is told where a checkpoint could not be used.
        clock: seconds.
        sources: hashes of the files that the training depends on, by name.
        data: hash of what is trained on; data that were exchanged meanwhile would otherwise be taken for those of the whole training.
        before: seconds that the cell took in processes before this one, once its checkpoint is loaded.
    """

    url: str
    identity: str
    minutes: float = 5.0
    tell: Callable[[str], None] = print
    clock: Callable[[], float] = time.monotonic
    sources: Mapping[str, str | None] = field(default_factory=dict)
    data: str | None = None
    stopping: bool = False
    before: float = 0.0
    _trained: bytes | None = None
    _began: float = field(init=False)
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self._last = self.clock()

    @property
    def path(self) -> str:
        """Where it lies."""
        return f"{self.url.rstrip('/')}/{self.identity}.checkpoint"

    def stop(self) -> None:
        """Ask the training to leave a checkpoint after the step in progress, and to end there."""
        self.stopping = True

    def due(self) -> bool:
        """Whether it is time for one."""
        return self.stopping or self.clock() - self._last >= 60.0 * self.minutes

    def save(self, state: dict[str, Any]) -> None:
        """Write one in the place of the last.

        Raises:
            SystemExit: the training was asked to stop.
        """
        self._write(self._packed(state))
        self._last = self.clock()
        if self.stopping:
            raise SystemExit(STOPPED)

    def trained(self, state: dict[str, Any]) -> None:
        """Hold the state after the last step, for `keep_trained`."""
        self._trained = self._packed(state)

    def keep_trained(self) -> None:
        """Write it, since a measure after the training broke: the cell then goes on from there, once that is mended."""
        if self._trained is not None:
            self._write(self._trained, trained=True)

    def _packed(self, state: dict[str, Any]) -> bytes:
        buffer = io.BytesIO()
        torch.save(state | {"seconds": self.before + self.clock() - self._began}, buffer)
        return buffer.getvalue()

    def _write(self, payload: bytes, *, trained: bool = False) -> None:
        header = {**self._made_by(), "sha256": hashlib.sha256(payload).hexdigest(), "trained": trained}
        try:
            files, path = _reached(self.path)
            files.makedirs(path.rpartition("/")[0], exist_ok=True)
            with files.open(f"{path}.writing", "wb") as file:
                file.write(json.dumps(header).encode() + b"\n" + payload)
            files.mv(f"{path}.writing", path)
        except OSError as error:  # training is worth more than its checkpoint
            with contextlib.suppress(OSError):  # what was begun takes room
                files, path = _reached(self.path)
                files.rm(f"{path}.writing")
            self.tell(f"{self.path}: checkpoint cannot be written ({error.strerror or error})")

    def load(self) -> dict[str, Any] | None:
        """The last one; None where there is none. One that is torn or made by another version is set aside and named."""
        files, path = _reached(self.path)
        try:
            with files.open(path, "rb") as file:
                first, payload = file.readline(), file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.tell(
                f"{self.path}: checkpoint cannot be read ({error.strerror or error}); the cell begins anew"
            )
            return None
        reason = _unlike(first, payload, self._made_by())
        if reason is None:
            kept = dict(torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu"))
            self.before = kept.pop("seconds", 0.0)
            self.tell(f"goes on from step {kept['place'][0]:,}, where its checkpoint was made")
            return kept
        kept_as = f"set aside as {self.identity}.checkpoint.set_aside" if self.put_aside() else "left there"
        self.tell(f"{self.path}: {reason}; {kept_as}, and the cell begins anew")
        return None

    def put_aside(self) -> bool:
        """Move it out of the way, so that the cell begins anew; whether there was one that could be moved."""
        files, path = _reached(self.path)
        try:
            files.mv(path, f"{path}.set_aside")
        except OSError:
            return False
        return True

    def _made_by(self) -> dict[str, Any]:
        """What must be the same where training goes on."""
        return {
            "format": FORMAT,
            "identity": self.identity,
            "torch": torch.__version__,
            "python": ".".join(platform.python_version_tuple()[:2]),
            "commit": commit()[0],
            "data": self.data,
            **self.sources,
        }

    def remove(self, *, but_trained: bool = False) -> None:
        """The cell has its record.

        Args:
            but_trained: what `keep_trained` wrote stays.
        """
        files, path = _reached(self.path)
        try:
            if but_trained:
                with files.open(path, "rb") as file:
                    if json.loads(file.readline()).get("trained"):
                        return
            files.rm(path)
        except (OSError, ValueError):
            return


STOPPED = 143
"""Exit code of a cell that was asked to stop and left a checkpoint, as a shell gives it for SIGTERM."""


def _reached(url: str) -> tuple[Any, str]:
    """File system and path of a place; whatever is no URL is a path, though it hold what fsspec reads otherwise (`a::b`)."""
    if "://" not in url:
        return fsspec.filesystem("file"), Path(url).absolute().as_posix()
    files, path = fsspec.core.url_to_fs(url)
    return files, str(path)


class CheckpointsError(UserError):
    """A place for checkpoints that cannot be used."""


def prove_usable(url: str) -> None:
    """Refuse a place that cannot be before anything runs; a folder is made only once there is something to write.

    Raises:
        CheckpointsError: fsspec does not know the protocol, lacks the package for it, a file is in the way, or no file system
            takes the name.
    """
    try:
        files, path = _reached(url)
        taken = files.info(path)["type"] == "file"
    except FileNotFoundError:
        return
    except Exception as error:  # each protocol has its own kinds
        raise CheckpointsError(f"--checkpoints {url}: cannot be used ({first_line(error)})") from error
    if taken:
        raise CheckpointsError(f"--checkpoints {url}: is a file; give a folder or a URL")


def _unlike(first: bytes, payload: bytes, wanted: Mapping[str, Any]) -> str | None:
    """What is wrong with a checkpoint; None where it can be gone on from."""
    try:
        header = dict(json.loads(first))
    except (ValueError, TypeError):
        return "is no checkpoint"
    if header.pop("sha256", None) != hashlib.sha256(payload).hexdigest():
        return "is torn"
    unlike = [
        f"{key} {header.get(key)}, here {value}" for key, value in wanted.items() if header.get(key) != value
    ]
    return f"was made by another version ({'; '.join(unlike)})" if unlike else None
