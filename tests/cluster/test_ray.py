"""Two nodes of a Ray cluster on this machine: the values that they have locally, and kills of a worker, the driver and a node."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from command_line import TINY, end, environment, records, run, start, values, wait_until

pytest.importorskip("ray")

from oscbench.runner.executors import ExecutorError, Options
from oscbench.runner.executors import ray as ray_executor

pytestmark = pytest.mark.ray

QUICK = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # by default workers give way to whatever else runs
    # A node that is silent for some seconds is lost; by default it takes half a minute.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
}
OWN_PORTS = (
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Node:
    """A node of one CPU, and all of its processes."""

    def __init__(self, folder, name, *options):
        self.log = folder / f"{name}.log"
        ports = [f"--{option}={free_port()}" for option in OWN_PORTS]
        command = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--block",
            "--num-cpus=1",
            "--num-gpus=0",
        ]
        command += ["--node-ip-address=127.0.0.1", "--object-store-memory=80000000", "--disable-usage-stats"]
        command += ["--min-worker-port=0", "--max-worker-port=0", *ports, *options]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                env=environment() | QUICK,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self.started, f"{name} is up")

    def started(self):
        assert self.process.poll() is None, self.log.read_text()
        return "Ray runtime started" in self.log.read_text()

    def family(self):
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self.process, *psutil.Process(self.process.pid).children(recursive=True)]
        return []

    def servers(self):
        """Fork servers below its workers, from which cells come."""
        found = []
        for one in self.family()[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                found += [one] if any("multiprocessing.forkserver" in word for word in one.cmdline()) else []
        return found

    def kill(self):
        for one in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait()


class Cluster:
    """A head and a second node."""

    def __init__(self, folder):
        self.folder, self.address = folder, f"127.0.0.1:{free_port()}"
        port = self.address.partition(":")[2]
        options = [f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false"]
        self.head = Node(folder, "head", "--head", *options)
        self.second = Node(folder, "second", f"--address={self.address}")

    def begin(self, suite, results, *options):
        arguments = ["--results", results, "--executor", "ray", "--address", self.address, *options]
        return start("run", suite, *arguments, cwd=results.parent)

    def idle(self):
        """Whether no cell is left, nor what cells come from."""
        return not self.head.servers() and not self.second.servers()


@pytest.fixture(scope="module", autouse=True)
def no_token():
    """Ray 2.60 keeps a token in the home folder once it made one: a head then asks for it, and a second node does not send it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        yield


@pytest.fixture(scope="module")
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # sockets have short names
    made = Cluster(folder)
    yield made
    made.second.kill()
    made.head.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """A suite of two cells that wait until a file is there, and their records as they come out locally."""

    class Gate:
        folder = tmp_path_factory.mktemp("gate")
        suite = folder / "gated.yaml"

        def close(self):
            for path in [*self.folder.glob("reached-*"), self.folder / "open"]:
                path.unlink(missing_ok=True)

        def open(self):
            (self.folder / "open").touch()

        def reached(self, count):
            """Ids of the processes that have come so far."""
            wait_until(lambda: len(list(self.folder.glob("reached-*"))) >= count, f"{count} cells run")
            return [int(path.name.partition("-")[2]) for path in self.folder.glob("reached-*")]

    gate = Gate()
    gated = f"{{name: 'throwaway_mechanisms:Gated', settings: {{folder: {gate.folder}}}}}"
    changes = {"mechanisms": f"[{gated}]", "seeds": 2}
    gate.suite.write_text("\n".join(f"{key}: {value}" for key, value in (TINY | changes).items()))
    gate.open()
    assert run(gate.suite, gate.folder / "local") == 0
    gate.expected = said(gate.folder / "local")
    gate.close()
    return gate


def said(results):
    return {key: values(record) for key, record in records(results).items()}


def gone(*processes):
    wait_until(lambda: not any(map(runs, processes)), "its processes are gone")


def runs(process):
    """Whether a process has not ended; one that nobody has asked for its exit code has."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_smoke_suite_on_two_nodes_has_the_values_that_it_has_here(cluster, tmp_path):
    process = cluster.begin("smoke", tmp_path / "results")
    wait_until(lambda: cluster.head.servers() and cluster.second.servers(), "cells run on both nodes")
    code, out, err = end(process)
    assert (code, out) == (0, ""), err
    assert "[1/10] " in err
    assert run("smoke", tmp_path / "local") == 0
    assert said(tmp_path / "results") == said(tmp_path / "local")
    wait_until(cluster.idle, "nothing is left on the nodes")


def test_a_killed_worker_takes_its_cell_with_it_which_begins_again(cluster, gate, tmp_path):
    process = cluster.begin(gate.suite, tmp_path / "results")
    cell, _ = gate.reached(2)
    worker = psutil.Process(cell).parent().parent()  # between them is the fork server
    worker.send_signal(signal.SIGKILL)
    gone(cell)
    gate.reached(3)
    gate.open()
    code, _, err = end(process)
    assert code == 0, err
    assert err.count("; it begins again elsewhere") == 1
    assert said(tmp_path / "results") == gate.expected
    gate.close()


def test_a_killed_driver_leaves_nothing_running_and_its_command_goes_on(cluster, gate, tmp_path):
    process = cluster.begin(gate.suite, tmp_path / "results")
    first = gate.reached(2)
    process.kill()
    assert end(process)[0] == -signal.SIGKILL
    gone(*first)
    wait_until(cluster.idle, "nothing is left on the nodes")
    process = cluster.begin(gate.suite, tmp_path / "results")
    then = set(gate.reached(4)) - set(first)
    process.send_signal(signal.SIGINT)
    gate.open()  # so that the steps in progress can end, with a checkpoint
    code, _, err = end(process)
    assert code == 130
    assert "Traceback" not in err
    gone(*then)
    wait_until(cluster.idle, "nothing is left on the nodes")
    code, _, err = end(cluster.begin(gate.suite, tmp_path / "results"))
    assert code == 0, err
    assert said(tmp_path / "results") == gate.expected
    gate.close()


def test_a_node_that_is_killed_loses_its_cell_to_the_other(cluster, gate, tmp_path):
    process = cluster.begin(gate.suite, tmp_path / "results")
    cells = gate.reached(2)
    there = {one.pid for one in cluster.second.family()}
    assert len(there.intersection(cells)) == 1
    cluster.second.kill()
    gone(*there)
    gate.open()
    code, _, err = end(process)
    assert code == 0, err
    assert "it begins again elsewhere" in err
    assert said(tmp_path / "results") == gate.expected
    wait_until(cluster.idle, "nothing is left on the nodes")
    gate.close()


def test_a_node_of_another_version_is_refused_in_one_line(cluster, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # workers import from the driver's folder first, and that may be a checkout
    found = ray_executor.versions()
    monkeypatch.setattr(ray_executor, "versions", lambda: found | {"torch": "1.0"})
    executor = ray_executor.Ray(Options(address=cluster.address))
    try:
        with pytest.raises(
            ExecutorError, match=f"cannot be used: torch {re.escape(found['torch'])}, here 1\\.0$"
        ):
            executor.machines()
    finally:
        executor.close()


def test_an_address_where_something_else_answers_is_refused_within_its_time(monkeypatch):
    monkeypatch.setattr(ray_executor, "ANSWER_S", 10.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ExecutorError, match=f"--address {address}: what answers there is no Ray cluster"):
            ray_executor.Ray(Options(address=address)).machines()
