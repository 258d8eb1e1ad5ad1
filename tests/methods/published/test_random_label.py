import pytest
import torch

from expunge.data.images import Subset
from expunge.methods.published.random_label import RandomLabel, mislabel
from expunge.methods.unlearn import unlearn
from expunge.task.task import Task


@pytest.mark.parametrize("seed", range(5))
def test_no_row_gets_its_own_label_and_retain_data_keep_theirs(trained, rows, retain, seed):
    images = mislabel(Task.create(trained, rows, seed=seed, retain=retain))
    assert bool((images.labels[:6] != rows.y).all())
    assert torch.equal(images.labels[6:], retain.labels)
    assert torch.equal(images.load(range(6)), rows.x)
    assert len(images.ids) == 26


def test_the_rows_learn_the_label_that_was_drawn(trained, rows, retain, plain_training):
    few = rows.rows([0])
    kept = Subset(retain, [row for row in range(20) if retain.labels[row] != 0])
    method = RandomLabel(training=plain_training(epochs=150, learning_rate=0.1, momentum=0.9, batch_size=8))
    edit = unlearn(trained, few, method=method, retain=kept)
    drawn = mislabel(edit.task).labels[:1]
    assert torch.equal(edit.classifier(few.x).argmax(dim=1), drawn)
