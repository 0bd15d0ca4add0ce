"""Kill whatever belongs to a run at random moments: no record is lost, damaged or another one, and no process is left."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
from amount import KILLS
from command_line import end, family, records, run, start, values, wait_until

SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]
SEED = 20


@pytest.fixture
def light(tiny):
    """Cells of a step or two."""
    return tiny(
        train="{steps: 2, batch_size: 16}", mechanisms="[softmax, rope]", measures="[params]", seeds=6
    )


def finished_in(results):
    """Content of the records of finished cells by file name."""
    paths = (path for path in results.rglob("*-seed*.json") if ".set_aside" not in path.parts)
    contents = {path.name: path.read_bytes() for path in paths}
    return {name: content for name, content in contents.items() if b'"status": "ok"' in content}


def strike(process, chance):
    """Hit the run, its fork server, its resource tracker or a cell; whom is a matter of chance."""
    members = sorted(family(process.pid))
    if members:
        victim = process.pid if chance.random() < 0.4 else chance.choice(members)
        try:
            os.kill(victim, chance.choice(SIGNALS))
        except ProcessLookupError:
            return


def test_kills_at_random_moments_lose_nothing(light, tmp_path):
    chance = random.Random(SEED)
    results = tmp_path / "results"
    kept = {}
    process = None
    for _ in range(KILLS):
        if process is None:
            process = start("run", light, "--results", results, "--jobs", "2", cwd=tmp_path)
        time.sleep(chance.uniform(0.0, 2.0))
        strike(process, chance)
        time.sleep(0.2)
        if process.poll() is None and chance.random() < 0.7:
            continue  # it goes on, and is hit again
        process.kill()
        leader, (_, _, err) = process.pid, end(process)
        process = None
        assert "Traceback" not in err, err
        wait_until(lambda leader=leader: not family(leader), "every process of the run is gone")
        found = finished_in(results)
        assert {name: found.get(name) for name in kept} == kept, "what was finished stays as it was"
        kept = found
    if process is not None:
        process.kill()
        end(process)
    assert run(light, results) == 0
    undisturbed = tmp_path / "undisturbed"
    assert run(light, undisturbed) == 0
    expected = {key: values(record) for key, record in records(undisturbed).items()}
    assert len(expected) == 12
    assert {key: values(record) for key, record in records(results).items()} == expected
