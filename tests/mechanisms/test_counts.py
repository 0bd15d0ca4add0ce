"""A count that the host knows, and that is written to from elsewhere."""

from __future__ import annotations

import copy

import torch

from oscbench.mechanisms._counts import Count


def test_a_count_goes_on_from_what_was_written_to_its_buffer():
    count = Count()
    assert [count.up() for _ in range(3)] == [1, 2, 3]
    with torch.no_grad():
        count.number.copy_(torch.tensor(7))  # as a checkpoint does
    assert [count.up() for _ in range(2)] == [8, 9]
    other = copy.deepcopy(count)
    assert (other.up(), count.up(), count.up()) == (10, 10, 11)
    other.load_state_dict(count.state_dict())
    assert other.up() == 12
    count.to(torch.float64).to(torch.float32)
    assert count.up() == 12
    assert int(count.number) == 12


def test_the_host_reads_a_count_once():
    count, read = Count(), []

    class Read(torch.Tensor):
        def __int__(self):
            read.append(1)
            return int(self.as_subclass(torch.Tensor))

    count.number = count.number.as_subclass(Read)
    assert [count.up() for _ in range(4)] == [1, 2, 3, 4]
    assert read == [1]
