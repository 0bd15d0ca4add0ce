"""Cells on machines that fail: each is finished once, none is lost, and no machine idles without need. No test waits or reads a clock."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pytest
import torch
from fake_executor import NATURE, Fake, InMemory, Watching, record_text

from oscbench.machine import environment
from oscbench.records import Record, Store
from oscbench.runner import pool as pools
from oscbench.runner.executors import ExecutorError, Lost, Machine, Needs, Options, ray
from oscbench.runner.executors.local import visible_devices
from oscbench.runner.matched_times import Measurements
from oscbench.runner.placement import Placement
from oscbench.runner.plan import make_plan
from oscbench.runner.pool import Pool
from oscbench.suite import load_suite


def nodes(count, cpus=1, gpus=0, **facts):
    return [Machine(f"node{i}", cpus, gpus, nature={**NATURE, **facts}) for i in range(count)]


@pytest.fixture
def cells(tiny):
    """As many different cells as wanted, without planning each."""
    (first,) = make_plan(load_suite(str(tiny(mechanisms="[softmax]"))), only=[], device="cpu")

    def made(count, **spec):
        return [
            replace(first, spec={**first.spec, "seed": seed, **spec}, identity=f"{seed:016x}")
            for seed in range(count)
        ]

    return made


def quick_text(cell):
    """Cards and headlines are read from source files: a record of one cell, made over for the others."""
    if quick_text.model is None or quick_text.model["suite"] != cell.suite:
        quick_text.model = json.loads(record_text(cell))
    changed = {"identity": cell.identity, "seed": cell.spec["seed"], "spec": cell.spec}
    return json.dumps(quick_text.model | changed)


quick_text.model = None


def flow(cells, into):
    into += yield cells


def run(fake, *asked, store=None, told=None, placement=None, **options):
    """Run lists of cells as flows of their own; (store, reporter, the records of each flow)."""
    store, told = store or InMemory(), told or Watching()
    found = [[] for _ in asked]
    placement = placement or Placement()
    pool = Pool(store, fake, told, placement, Measurements(store), clock=fake.clock, **options)
    pool.run([flow(cells, into) for cells, into in zip(asked, found, strict=True)])
    return store, told, found


def test_a_thousand_nodes_of_which_a_twentieth_is_lost_each_hour_finish_every_cell_once(
    cells, monkeypatch, record_property
):
    monkeypatch.setattr(pools, "WATCH_S", 60.0)
    monkeypatch.setattr(pools, "POLL_S", 30.0)
    wanted = cells(20_000)
    lengths = random.Random(0)
    seconds = {
        cell.identity: lengths.lognormvariate(7.3, 0.5) for cell in wanted
    }  # half of them below 25 minutes

    class Told(Fake):
        idle_before_the_end = 1.0

        def submit(self, job):
            super().submit(job)
            if job.cell is wanted[-1] and self.idle_before_the_end == 1.0:
                self.idle_before_the_end = self.idle_share()

    fake = Told(nodes(1000), lambda cell: seconds[cell.identity], quick_text, loss_an_hour=0.05, seed=1)
    begun = time.process_time()
    store, told, (found,) = run(fake, wanted)
    overhead = (time.process_time() - begun) / len(wanted)
    lost = sum(kind == "lost" for _, kind, _ in fake.log)
    again = sum(kind == "submitted" for _, kind, _ in fake.log) - len(wanted)
    assert lost > 300, "the nodes were lost in earnest"
    assert again > 100, "and cells with them"
    assert len(found) == len(wanted)
    assert Counter(record.status for record in found) == {"ok": len(wanted)}
    assert all(len(records) == 1 for records in store.written.values()), "none was recorded twice"
    assert len(store.written) == len(told.ended) == len(wanted)
    assert not store.held
    # The last cells, of up to three hours, leave most nodes without work; until the last one is handed out none waits.
    record_property("idle_share", fake.idle_share())
    record_property("idle_share_until_the_last_cell_began", fake.idle_before_the_end)
    told = (
        f"idle {fake.idle_before_the_end:.2%} until the last cell began, {fake.idle_share():.1%} with the end"
    )
    print(
        f"{lost} nodes lost, {again} cells begun again, {fake.now / 3600:.1f} h, {told}, {overhead * 1e3:.2f} ms a cell"
    )
    assert overhead < 0.010, (
        "seconds of the processor to place, hear and record a cell, the imagined nodes' own counted in"
    )
    assert fake.idle_before_the_end < 0.02


@pytest.mark.parametrize("seed", range(5))
def test_what_is_said_may_be_lost_late_or_said_twice(cells, seed):
    wanted = cells(200)
    fake = Fake(
        nodes(7, cpus=2),
        lambda cell: 30.0 + cell.spec["seed"],
        quick_text,
        loss_an_hour=0.3,
        drop=0.03,
        double=0.2,
        late_s=100.0,
        seed=seed,
    )
    store, told, (found,) = run(fake, wanted)
    assert [record.identity for record in found] == [cell.identity for cell in wanted]
    assert all(len(records) == 1 for records in store.written.values())
    assert Counter(cell.identity for cell, _, _ in told.ended) == Counter(cell.identity for cell in wanted)
    assert not store.held


def test_a_cell_begins_again_three_times_and_no_more(cells):
    class Cursed(Fake):
        """A node goes as soon as it has the first cell."""

        def submit(self, job):
            super().submit(job)
            if job.cell.spec["seed"] == 0:
                self._at(self.now + 1.0, lambda: self.lose(job.place.machine))

    fake = Cursed(nodes(3), text=quick_text, back_s=10.0)
    _, _, (found,) = run(fake, cells(10))
    begun = Counter(job.cell.spec["seed"] for _, kind, job in fake.log if kind == "submitted")
    assert begun[0] == 4
    failed = [record for record in found if record.status != "ok"]
    assert [record.seed for record in failed] == [0]
    assert failed[0].reason.startswith("lost 4 times with what ran it, at last: node")


def test_a_cell_that_stands_still_on_another_machine_is_ended_there(cells):
    fake = Fake(nodes(1), lambda cell: 1e6, quick_text)
    _, _, (found,) = run(fake, cells(2), stall_s=600.0)
    assert [record.reason for record in found] == ["made no progress for 10 minutes, and was killed"] * 2
    assert fake.now < 2 * 700.0


def test_what_flows_ask_for_is_in_flight_together_and_each_waits_for_its_own_alone(cells):
    """Of two searches of ten trials, one has trials ten times as long: the other does not wait for it."""
    wanted = cells(20)
    order = []

    def search(own):
        for cell in own:
            (record,) = yield [cell]
            order.append(record.seed)

    fake = Fake(nodes(2), lambda cell: 10.0 if cell.spec["seed"] < 10 else 100.0, quick_text)
    store = InMemory()
    pool = Pool(store, fake, Watching(), Placement(), Measurements(store), clock=fake.clock)
    pool.run([search(wanted[:10]), search(wanted[10:])])
    assert order[:10].count(10) == 1, "the quick one had nine trials when the slow one had its first"
    assert sorted(order) == list(range(20))
    assert fake.now < 1100.0


def test_records_that_are_there_are_found_without_a_machine_to_spare(cells):
    wanted = cells(50)
    store = InMemory()
    for cell in wanted[:40]:
        store.write(Record.model_validate_json(quick_text(cell)))
    fake = Fake(nodes(1), text=quick_text)
    _, told, _ = run(fake, wanted, store=store)
    assert [reused for _, _, reused in told.ended].count(True) == 40
    assert sum(kind == "submitted" for _, kind, _ in fake.log) == 10


# GPUs


def test_cells_share_gpus_as_often_as_was_asked(cells):
    placement = Placement(jobs_per_gpu=2)
    placement.update(nodes(1, cpus=64, gpus=2))
    one = Needs(gpus=1)
    taken = [placement.take(one) for _ in range(5)]
    assert [place and place.gpus for place in taken] == [(0,), (1,), (0,), (1,), None]
    placement.free(taken[1])
    assert placement.take(one).gpus == (1,)
    assert placement.capacity(one) == 4
    assert placement.take(Needs(gpus=2)) is None, "a cell that trains on two GPUs has them to itself"
    for place in (taken[0], taken[2], taken[3], taken[1]):
        placement.free(place)
    assert placement.take(Needs(gpus=2)).gpus == (0, 1)
    assert placement.take(one) is None
    assert placement.take(Needs()) is not None, "the CPU is free all the while"


def test_no_gpu_has_more_cells_than_its_share(cells):
    wanted = cells(30, device="cuda")
    fake = Fake(nodes(2, cpus=16, gpus=3), text=quick_text)
    run(fake, wanted, placement=Placement(jobs_per_gpu=2))
    beside, most = Counter(), Counter()
    for _, kind, job in fake.log:
        key = (job.place.machine, *job.place.gpus)
        beside[key] += 1 if kind == "submitted" else -1
        most[key] = max(most[key], beside[key])
    assert len(most) == 6
    assert set(most.values()) == {2}


def test_more_gpus_than_any_machine_has_are_refused_in_one_line(cells):
    wanted = cells(1, device="cuda", train={"devices": 4})
    with pytest.raises(ExecutorError, match=r"^a cell needs 4 GPUs, and no machine has more than 2$"):
        run(Fake(nodes(3, gpus=2)), wanted)


def test_jobs_are_the_most_cells_at_once_on_all_machines_together(cells):
    fake = Fake(nodes(5), text=quick_text)
    run(fake, cells(20), jobs=3)
    at_once, most = 0, 0
    for _, kind, _ in fake.log:
        at_once += 1 if kind == "submitted" else -1
        most = max(most, at_once)
    assert most == 3


def test_a_cell_with_more_threads_than_any_machine_has_a_machine_to_itself():
    placement = Placement()
    placement.update(nodes(1, cpus=2))
    assert placement.take(Needs(cpus=8)).cpus == 2
    assert placement.take(Needs()) is None


# Times


def test_cells_whose_times_are_compared_are_alone_and_on_machines_of_one_kind(cells):
    def timing(cell):
        return replace(
            cell,
            spec={
                **cell.spec,
                "kind": "timing",
                "family": "ops",
                "reference": "x",
                "setting": {"passes": ["f"]},
                "setting_label": "D64",
                "batch": 1,
                "tokens": 8,
                "contenders": [],
            },
        )

    mixed = [
        *nodes(3),
        *(replace(one, name=f"new{one.name}", nature={**NATURE, "cores": 2}) for one in nodes(2)),
    ]
    fake = Fake(mixed, text=quick_text)
    wanted = [timing(cell) if cell.spec["seed"] % 5 == 0 else cell for cell in cells(40)]
    run(fake, wanted)
    there = {}
    timed = Counter()
    for _, kind, job in fake.log:
        on = there.setdefault(job.place.machine, set())
        if kind == "ended":
            on.discard(job.ticket)
            continue
        assert not any(wanted[other].spec["kind"] == "timing" for other in on)
        if job.cell.spec["kind"] == "timing":
            assert not on, "nothing runs beside it"
            timed[job.place.machine] += 1
        on.add(job.ticket)
    assert sum(timed.values()) == 8
    assert set(timed) <= {"node0", "node1", "node2"}


FOUND = {
    "by": "time",
    "hidden": 41,
    "target": 0.02,
    "value": 0.0202,
    "residual": 0.01,
    "spread": 0.004,
    "converged": True,
    "details": {"rounds": 11},
}


def test_matching_by_time_is_measured_once_alone_and_on_a_machine_like_the_cells(tiny):
    path = tiny(match="{by: time, reference: softmax, tolerance: 0.05}", seeds=6)
    wanted = make_plan(load_suite(str(path)), only=[], device="cpu")
    fast = [
        replace(one, name=f"fast{one.name}", nature={**NATURE, "processor": "another"})
        for one in nodes(2, cpus=4)
    ]
    fake = Fake([*fast, *nodes(3, cpus=4)], text=record_text, measured=lambda cell: FOUND)
    store, _, (found,) = run(fake, wanted)
    measuring = [job for _, kind, job in fake.log if kind == "submitted" and job.only_measure]
    assert sorted(job.cell.spec["mechanism"]["name"] for job in measuring) == ["kope", "softmax"]
    cells_run = [job for _, kind, job in fake.log if kind == "submitted" and not job.only_measure]
    assert len(cells_run) == len(found) == 12
    assert all(list(job.cell.measured.values()) == [FOUND] for job in cells_run)
    assert not any(job.place.machine.startswith("fast") for job in [*measuring, *cells_run]), (
        "fewer are of that kind"
    )
    beside = {}
    for _, _, job in fake.log:
        on = beside.setdefault(job.place.machine, set())
        on.symmetric_difference_update({(job.ticket, job.only_measure)})
        assert len(on) <= 1 or not any(only for _, only in on)
    assert len(store.values) == 2, "kept for the next run"


def test_a_measurement_that_breaks_is_left_to_the_cells_and_not_kept(tiny):
    path = tiny(match="{by: time, reference: softmax, tolerance: 0.05}", mechanisms="[softmax]", seeds=2)
    wanted = make_plan(load_suite(str(path)), only=[], device="cpu")
    fake = Fake(nodes(1), text=record_text)
    store, _, (found,) = run(fake, wanted)
    assert len(found) == 2
    assert store.values == {}
    assert not any(job.cell.measured for _, _, job in fake.log)


def test_auto_is_what_the_machines_have_and_not_the_driver(tiny, tmp_path):
    from oscbench.runner.session import run_suite

    assert not torch.cuda.is_available()
    suite = tiny(mechanisms="[softmax]", device="auto")
    for executor, device in (("fake_executor:OneGpu", "cuda"), ("fake_executor:NoGpu", "cpu")):
        results = tmp_path / device
        assert run_suite(str(suite), results=results, only=[], overrides=[], executor=executor) == 0
        (record,), _ = Store(results).read_all()
        assert record.device == record.spec["device"] == device


def test_the_gpus_of_a_cell_are_named_as_this_process_sees_them(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_devices((0, 3)) == "0,3"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-7a,9")
    assert visible_devices((0, 2)) == "4,9"
    assert visible_devices((1,)) == "GPU-7a"
    assert environment._index(torch.device("cuda")) == "4", "and so stands in the record"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-7a")
    assert environment._index(torch.device("cuda")) == "GPU-7a"


# Bad input


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--executor", "locale"], '--executor: got "locale"; did you mean "local"?'),
        (["--address", "head:6379"], "--address head:6379: the local executor has none"),
        (["--executor", "ray", "--address", "ray://head:1"], "--address ray://head:1: give host:port"),
        (["--executor", "ray", "--address", "127.0.0.1:1"], "--address 127.0.0.1:1: nothing answers there"),
    ],
)
def test_mistakes_about_the_executor_are_one_line_with_code_2(tiny, oscbench, options, expected, monkeypatch):
    monkeypatch.setattr(ray, "_is_installed", lambda: True)
    ended = oscbench("run", tiny(), *options)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert expected in ended.err


def test_ray_that_is_not_installed_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(ray, "_is_installed", lambda: False)
    with pytest.raises(
        ExecutorError, match=r'^--executor ray: Ray is not installed; pip install "oscbench\[ray\]"$'
    ):
        ray.Ray(Options())


def test_what_never_began_on_a_machine_that_is_gone_has_lost_nothing(cells):
    class Late(Fake):
        """It is known only later that a node is dead: what is placed there comes back as often as that, and has not begun."""

        def submit(self, job):
            tries = sum(kind == "submitted" for _, kind, _ in self.log)
            if tries < 6:
                self.log.append((self.now, "submitted", job))
                self._say(Lost(job.ticket, "task unschedulable"))
            else:
                super().submit(job)

    fake = Late(nodes(1), text=quick_text)
    _, _, (found,) = run(fake, cells(1))
    assert [record.status for record in found] == ["ok"]
    never = Late(nodes(1), text=quick_text)
    never.submit = lambda job: never._say(Lost(job.ticket, "task unschedulable"))
    _, _, (found,) = run(never, cells(1))
    assert [(record.status, record.reason) for record in found] == [
        ("failed", "lost 21 times with what ran it, at last: task unschedulable")
    ]


def test_a_fresh_cell_puts_a_checkpoint_aside_where_it_begins_and_not_where_it_begins_again(cells):
    class Loses(Fake):
        """The machine of the first job is lost once it has begun."""

        def submit(self, job):
            super().submit(job)
            if len([1 for _, kind, _ in self.log if kind == "submitted"]) == 1:
                self._at(self.now + 1.0, lambda: self.lose(job.place.machine))

    for adopt, expected in ((False, [True, False]), (True, [False, False])):
        fake = Loses(nodes(2), text=quick_text, back_s=10.0)
        run(fake, cells(1), adopt=adopt)
        assert [job.anew for _, kind, job in fake.log if kind == "submitted"] == expected


def test_news_of_machines_are_told(cells):
    class Tells(Fake):
        def news(self):
            said, self.said = self.said, []
            return said

    fake = Tells(nodes(1), lambda cell: 30.0, quick_text)
    fake.said = ["no machine is left; waiting for one"]
    store, _, _ = run(fake, cells(1))
    assert [line for line in store.told if "no machine" in line] == ["no machine is left; waiting for one"]


@pytest.mark.parametrize(("head", "worker"), [("A", "B"), ("B", "A")])
def test_machines_that_hold_no_cell_have_no_say_in_where_times_are_taken(head, worker):
    """A head without cores, as Kubernetes has it, on another processor."""
    placement = Placement()
    placement.update(
        [
            Machine("head", 0, 0, nature={"processor": head}),
            Machine("worker", 4, 0, nature={"processor": worker}),
        ]
    )
    place = placement.take(Needs(alone=True, alike="cpu"))
    assert place is not None
    assert place.machine == "worker"


def test_what_ray_starts_hears_no_signal_of_our_group_and_our_handlers_stay():
    def mine(number, frame):
        raise AssertionError("nothing was sent")

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with ray._own_signals():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as ray.init does
            code = "import signal; print(sorted(int(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
            child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        blocked = json.loads(child.stdout)
        assert int(signal.SIGTERM) in blocked
        assert int(signal.SIGINT) not in blocked
    finally:
        signal.signal(signal.SIGTERM, before)
