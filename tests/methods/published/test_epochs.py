import torch
from torch import nn

from expunge.data.forget import ForgetSet
from expunge.methods.published.scrub import Scrub
from expunge.methods.unlearn import unlearn
from expunge.models.classifier import Classifier
from expunge.training import Training


def test_a_batch_of_one_image_uses_the_running_statistics(rows, retain):
    """In training mode, BatchNorm of flat features refuses a single image, as a single row to forget is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(144, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 5))
    classifier = Classifier.wrap(network.eval(), num_classes=5)
    one = ForgetSet(("a",), rows.x[:1], classifier(rows.x[:1]).argmax(dim=1))
    edit = unlearn(classifier, one, method=Scrub(training=Training(epochs=2, batch_size=8)), retain=retain)
    assert edit.steps == 2
