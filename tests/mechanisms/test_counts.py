"""A count that the host knows, in a buffer that others write to."""

from __future__ import annotations

import copy

import torch

from oscbench.mechanisms._counts import Counter


def test_a_count_goes_on_from_what_was_written_to_its_buffer():
    counter, buffer = Counter(), torch.zeros((), dtype=torch.int64)
    assert [counter.up(buffer) for _ in range(3)] == [1, 2, 3]
    buffer.copy_(torch.tensor(7))  # as a checkpoint does
    assert [counter.up(buffer) for _ in range(2)] == [8, 9]
    other, others = copy.deepcopy((counter, buffer))
    assert (other.up(others), counter.up(buffer), counter.up(buffer)) == (10, 10, 11)
    moved = buffer.clone()  # to another device, say
    assert counter.up(moved) == 12
    assert int(moved) == 12
    assert int(buffer) == 11


def test_the_host_reads_a_count_once():
    read = []

    class Read(torch.Tensor):
        def __int__(self):
            read.append(1)
            return int(self.as_subclass(torch.Tensor))

    counter, buffer = Counter(), torch.zeros((), dtype=torch.int64).as_subclass(Read)
    assert [counter.up(buffer) for _ in range(4)] == [1, 2, 3, 4]
    assert read == [1]
