from collections import Counter

import torch

from expunge.data.images import TensorImages
from expunge.methods.published.fine_tune import FineTune
from expunge.methods.unlearn import unlearn
from expunge.task.task import StopReason
from expunge.training import Training


class Watched(TensorImages):
    """Images that count which rows were loaded."""

    seen = Counter()

    def load(self, rows):
        self.seen.update(rows)
        return TensorImages.load(self, rows)


def test_every_retain_row_is_trained_on_once_an_epoch_and_the_rows_to_forget_never(trained, rows, other_images):
    retain = Watched(range(20), other_images[1], other_images[0])
    method = FineTune(training=Training(epochs=3, batch_size=8))
    edit = unlearn(trained, rows, method=method, retain=retain)
    checked = Counter([0])
    assert retain.seen - checked == Counter(dict.fromkeys(range(20), 3))
    assert edit.stop_reason is StopReason.COMPLETED
    assert edit.steps == 3
    assert edit.cost.gradient_evaluations == 60


def test_the_optimiser_holds_the_network_that_is_returned(trained, rows, other_images):
    retain = TensorImages(range(20), (other_images[1] + 1) % 5, other_images[0])
    method = FineTune(training=Training(epochs=30, batch_size=8, learning_rate=0.05))
    edit = unlearn(trained, rows, method=method, retain=retain)
    right = edit.classifier(other_images[0]).argmax(dim=1) == retain.labels
    assert right.float().mean() > 0.8, "shifted labels were learnt"
    assert torch.equal(trained(rows.x).argmax(dim=1), rows.y)
