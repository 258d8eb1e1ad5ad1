import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge.base.errors import DataError
from expunge.data.images import ConcatImages, Subset, TensorImages, batches, load_ahead

BYTES = torch.randint(0, 256, (7, 3, 4, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
IMAGES = TensorImages([f"id-{row}" for row in range(7)], torch.arange(7) % 3, BYTES)
ROWS = st.lists(st.integers(0, 6), min_size=1, max_size=9)


@given(ROWS)
def test_bytes_are_scaled_and_come_in_the_order_asked_for(rows):
    loaded = IMAGES.load(rows)
    assert loaded.dtype == torch.float32
    assert torch.equal((loaded * 255).round().to(torch.uint8), BYTES[rows])
    assert 0 <= float(loaded.min()) <= float(loaded.max()) <= 1


@given(ROWS)
def test_floats_stay_as_they_are(rows):
    pixels = BYTES.double() / 255
    assert torch.equal(TensorImages(IMAGES.ids, IMAGES.labels, pixels).load(rows), pixels[rows])


def test_the_ids_of_the_whole_are_made_once_for_all_rows_of_a_subset():
    class Counted:
        made = 0

        @property
        def ids(self):
            self.made += 1
            return ["a", "b", "c"]

    images = Counted()
    assert Subset(images, [2, 0, 2]).ids == ["c", "a", "c"]
    assert images.made == 1


@given(st.data())
def test_a_subset_of_a_subset_is_a_subset(data):
    outer = data.draw(ROWS)
    inner = data.draw(st.lists(st.integers(0, len(outer) - 1), min_size=1, max_size=5))
    nested, direct = Subset(Subset(IMAGES, outer), inner), Subset(IMAGES, [outer[row] for row in inner])
    assert nested.ids == direct.ids
    assert torch.equal(nested.labels, direct.labels)
    everything = range(len(inner))
    assert torch.equal(nested.load(everything), direct.load(everything))


@given(st.integers(1, 9))
def test_batches_are_everything_once_and_in_order(batch_size):
    parts = list(batches(IMAGES, batch_size))
    assert all(len(x) == len(y) <= batch_size for x, y in parts)
    assert torch.equal(torch.cat([x for x, _ in parts]), IMAGES.load(range(7)))
    assert torch.equal(torch.cat([y for _, y in parts]), IMAGES.labels)


def test_ids_labels_and_images_are_as_many():
    with pytest.raises(DataError, match="`images`: expected as many ids and labels as images, got 6, 7, 7"):
        TensorImages(IMAGES.ids[:6], IMAGES.labels, BYTES)


def test_joined_images_are_the_rows_of_both_each_in_its_place():
    first = TensorImages(("a", "b"), torch.tensor([1, 2]), torch.rand(2, 3, 4, 6))
    second = TensorImages(("c",), torch.tensor([0]), torch.rand(1, 3, 4, 6))
    joined = ConcatImages(first, second)
    assert joined.ids == ["a", "b", "c"]
    assert joined.labels.tolist() == [1, 2, 0]
    assert torch.equal(joined.load([2, 0]), torch.stack([second.pixels[0], first.pixels[0]]))
    assert torch.equal(joined.load([1]), first.pixels[1:])


class Watched:
    """Images that count how many rows were loaded, from any thread; one row is of another size, one is damaged."""

    def __init__(self, count, odd=-1, damaged=-1):
        self.ids, self.labels = [str(row) for row in range(count)], torch.arange(count)
        self.odd, self.damaged, self.loaded = odd, damaged, []

    def load(self, rows):
        self.loaded += rows
        if self.damaged in rows:
            raise DataError(str(self.damaged), "a whole image", "half of one")
        if self.odd in rows and len(rows) > 1 and {self.odd} != set(rows):
            raise DataError(str(self.odd), "one size", "another")
        size = 3 if self.odd in rows else 2
        return torch.stack([torch.full((1, size, 4), float(row)) for row in rows])


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("batch_size", [1, 5, 40, 100])
def test_threads_give_the_batches_in_order(threads, batch_size):
    images = Watched(100)
    parts = [range(start, min(start + batch_size, 100)) for start in range(0, 100, batch_size)]
    loaded = list(load_ahead(images, parts, threads))
    assert [x[:, 0, 0, 0].tolist() for x in loaded] == [list(map(float, part)) for part in parts]
    assert sorted(images.loaded) == list(range(100))


def test_only_the_next_batch_is_loaded_ahead():
    images = Watched(1000)
    stream = load_ahead(images, [range(start, start + 10) for start in range(0, 1000, 10)], threads=2)
    for number in range(5):
        next(stream)
        assert len(images.loaded) <= 10 * (number + 2)
    stream.close()
    assert len(images.loaded) <= 60


def test_what_is_wrong_with_a_row_is_said_when_it_is_its_turn():
    stream = load_ahead(Watched(60, damaged=45), [range(20), range(20, 40), range(40, 60)], threads=2)
    assert [len(next(stream)), len(next(stream))] == [20, 20]
    with pytest.raises(DataError, match="`45`: expected a whole image"):
        next(stream)


def test_images_of_different_sizes_are_refused_even_where_different_threads_load_them():
    with pytest.raises(DataError, match="`16`: expected one size"):
        list(load_ahead(Watched(17, odd=16), [range(17)], threads=2))
