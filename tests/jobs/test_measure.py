"""What one of several processes says of images that are only measured on."""

import torch

from expunge.base.errors import DataError
from expunge.compute.processes import Alone
from expunge.compute.runtime import Runtime
from expunge.data.images import TensorImages
from expunge.jobs.measure import answer
from expunge.methods.unlearn import unlearn

DAMAGED = 19


class Damaged(TensorImages):
    """Images of which the last can't be read."""

    def load(self, rows):
        if DAMAGED in rows:
            raise DataError("19.png", "a whole image", "half of one")
        return super().load(rows)


class First(Alone):
    """The first of two processes; the second has found the damaged image in its half."""

    count = 2

    def sum(self, tensors):
        for tensor in tensors:
            if tensor.dtype == torch.int64:
                tensor[DAMAGED] += 1


def test_the_first_process_tells_of_images_that_another_could_not_read(trained, rows, other_images):
    edit = unlearn(trained, rows, method="l2ul", max_steps=1)
    images = Damaged([f"{row}.png" for row in range(20)], other_images[1], other_images[0])
    found = answer("test", images, edit, Runtime(processes=First()))
    assert len(found.images.labels) == len(found.before) == len(found.after) == DAMAGED
    assert found.notes == (
        "test: 1 of 20 images left out of what is measured: `19.png`: expected a whole image, got half of one",
    )
