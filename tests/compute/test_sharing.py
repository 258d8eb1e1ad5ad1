import pytest
import torch

from expunge.base.errors import ExpungeWarning, OutOfMemoryError
from expunge.compute.processes import ALONE, share_of
from expunge.compute.sharing import Sharing, fitting_cache, is_out_of_memory


class Others:
    """One of several processes, with what the others bring to each sum."""

    def __init__(self, rank, count, brought=()):
        self.rank, self.count, self.brought = rank, count, list(brought)

    def sum(self, tensors):
        for tensor, other in zip(tensors, self.brought.pop(0), strict=True):
            tensor.add_(other)


def fail_over(limit, error):
    """Return work that returns its numbers, but fails with more than `limit` images at once; and the sizes it saw."""
    seen = []

    def work(part):
        seen.append(part.stop - part.start)
        if seen[-1] > limit:
            raise error
        return [torch.arange(part.start, part.stop)]

    return work, seen


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("std::bad_alloc"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_out_of_memory_halves_the_batch_and_goes_on_with_a_note(error):
    work, seen = fail_over(3, error)
    sharing = Sharing(8)
    with pytest.warns(ExpungeWarning, match="out of memory: going on with batches of 3 images"):
        [numbers] = sharing.map_concat(7, work)
    assert numbers.tolist() == list(range(7))
    assert seen == [7, 3, 3, 1]
    assert sharing.batch_size == 3
    work, seen = fail_over(3, error)
    sharing.map_sum(4, lambda part: [work(part)[0].sum()])
    assert seen == [3, 1]


def test_where_one_image_is_too_much_the_error_is_raised():
    work, _ = fail_over(0, MemoryError("no more"))
    with pytest.warns(ExpungeWarning, match="of 1"), pytest.raises(OutOfMemoryError, match="one image, got no more"):
        Sharing(2).map_concat(5, work)


def test_any_other_error_is_raised_at_once():
    work, seen = fail_over(0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        Sharing(8).map_concat(5, work)
    assert seen == [5]
    assert not is_out_of_memory(KeyError("out of memory"))


def test_the_shares_are_everything_once():
    for processes in (1, 2, 3, 5):
        for count in (5, 6, 17):
            shares = [share_of(Others(rank, processes), count) for rank in range(processes)]
            assert [number for share in shares for number in range(count)[share]] == list(range(count))
    assert share_of(Others(1, 3), 2) == slice(0, 2)
    assert share_of(ALONE, 0) == slice(0, 0)


def test_a_share_is_gathered_with_those_of_the_others():
    theirs = torch.tensor([[0, 0], [10, 11], [0, 0], [0, 0], [0, 0]])
    theirs[:2] = torch.tensor([[20, 21], [22, 23]])
    sharing = Sharing(2, Others(1, 2, [[theirs]]))
    [rows] = sharing.map_concat(5, lambda part: [torch.arange(10).view(5, 2)[part]])
    assert rows.tolist() == [[20, 21], [22, 23], [4, 5], [6, 7], [8, 9]]


def test_a_sum_adds_those_of_the_others():
    sharing = Sharing(1, Others(0, 2, [[torch.tensor(100)]]))
    [total] = sharing.map_sum(4, lambda part: [torch.arange(4)[part].sum()])
    assert total.item() == 0 + 1 + 100


def test_with_fewer_images_than_processes_each_does_everything():
    sharing = Sharing(4, Others(2, 3))
    [rows] = sharing.map_concat(2, lambda part: [torch.arange(2)[part]])
    [total] = sharing.map_sum(2, lambda part: [torch.arange(2)[part].sum()])
    assert (rows.tolist(), total.item()) == ([0, 1], 1)


def test_nothing_is_gathered_as_no_rows():
    [rows] = Sharing(4).map_concat(0, lambda part: [torch.zeros(5, 3)[part]])
    assert rows.shape == (0, 3)


@pytest.mark.parametrize(("at_once", "sizes"), [(None, [4, 4, 2]), (3, [3, 3, 3, 1]), (9, [4, 4, 2])])
def test_fewer_images_at_once_than_a_batch_holds(at_once, sizes):
    work, seen = fail_over(100, None)
    [found] = Sharing(4).map_concat(10, work, at_once=at_once)
    assert found.tolist() == list(range(10))
    assert seen == sizes


def test_where_results_are_to_be_steady_the_batch_size_does_not_count_until_memory_runs_out():
    sharing = Sharing(4)
    work, seen = fail_over(100, None)
    with sharing.steady(6):
        sharing.map_concat(10, work)
        sharing.map_concat(10, work, at_once=5)
        assert seen == [6, 4, 5, 5]
        work, seen = fail_over(5, MemoryError())
        with pytest.warns(ExpungeWarning, match="of 3 images"):
            sharing.map_concat(10, work)
    assert seen == [6, 3, 3, 3, 1]
    assert sharing.batch_size == 3


def test_a_processor_gets_as_many_images_as_stay_in_its_cache_and_a_device_all():
    cpu, device = torch.device("cpu"), torch.device("cuda")
    found = [fitting_cache(torch.empty(1, 1, size, size), cpu) for size in (8, 32, 64, 224)]
    assert found == [2048, 128, 32, 8]
    assert fitting_cache(torch.empty(1, 1, 32, 32), device) is None
