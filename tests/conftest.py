"""What many tests share: a small trained classifier with BatchNorm, rows that it gets right, and the real data."""

import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import settings
from torch import nn

from expunge.base.errors import OutputError
from expunge.data.forget import ForgetSet
from expunge.models.classifier import Classifier

settings.register_profile("expunge", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("expunge")

CLASSES = 5
SHAPE = (3, 8, 6)
COLOURS = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9], [0.9, 0.9, 0.1], [0.1, 0.9, 0.9]])


def draw_images(count, seed):
    """Return images of 8x6 pixels whose colour tells their class, and the classes: copies of them keep their label."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    texture = torch.rand(count, *SHAPE, generator=generator)
    return 0.7 * COLOURS[labels].view(count, 3, 1, 1) + 0.3 * texture, labels


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Keep inverted surrogates out of the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPUNGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def resource():
    """Return the module, which Windows lacks."""
    try:
        import resource  # noqa: PLC0415
    except ImportError:
        pytest.skip("there is no module resource")
    return resource


@pytest.fixture(scope="session")
def trained():
    """Return a classifier of five colours that is shared by all tests: only for tests that cannot change it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, CLASSES),
        )
    classifier = Classifier.wrap(network, num_classes=CLASSES, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    x, labels = draw_images(40, seed=0)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        F.cross_entropy(classifier(x), labels).backward()
        optimiser.step()
    optimiser.zero_grad()
    classifier.module.eval()
    return classifier


@pytest.fixture(autouse=True)
def _trained_stays_as_it_is(request):
    """Fail a test that changes the shared classifier, its running statistics among it."""
    shared = request.getfixturevalue("trained") if "trained" in request.fixturenames else None
    before = None if shared is None else shared.sha256()
    yield
    assert shared is None or shared.sha256() == before, "this test changed the shared classifier"


@pytest.fixture(autouse=True)
def _threads_stay():
    """Fail a test that changes the number of threads: sums are rounded as they are divided, in all tests after it."""
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before, "this test changed the number of threads"


@pytest.fixture
def classifier(trained):
    """Return a copy of the trained classifier that a test may do with what it likes."""
    return trained.copy()


@pytest.fixture(scope="session")
def rows(trained):
    """Return six rows that the trained classifier predicts as labelled."""
    x, labels = draw_images(6, seed=1)
    assert torch.equal(trained(x).argmax(dim=1), labels)
    return ForgetSet(tuple(f"row-{number}" for number in range(6)), x, labels)


@pytest.fixture(scope="session")
def twelve():
    """Return twelve rows."""
    x, labels = draw_images(12, seed=5)
    return ForgetSet(tuple(f"row-{number}" for number in range(12)), x, labels)


@pytest.fixture(scope="session")
def relabelled(rows):
    """Return the same rows with a new label each."""
    return ForgetSet(rows.ids, rows.x, rows.y, (rows.y + 2) % CLASSES)


@pytest.fixture(scope="session")
def other_images():
    """Return images and labels that are no forget rows."""
    return draw_images(20, seed=2)


@pytest.fixture(scope="session")
def linear_classifier():
    """Return a function that makes a linear classifier (no BatchNorm) from a weight matrix and a bias."""

    def make(weight, bias, bounds=None):
        layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        module = nn.Sequential(nn.Flatten(), layer).eval()
        return Classifier(module, len(weight)) if bounds is None else Classifier(module, len(weight), bounds)

    return make


@pytest.fixture
def full_disk(monkeypatch):
    """Return a function after which the disk is full for the sealed files whose name holds a word."""
    from expunge.requests import sealed  # noqa: PLC0415 - what few tests need

    written = sealed.write_bytes

    def fill(word):
        def refuse(path, content):
            if word in path.name:
                raise OutputError(str(path), "a place that can be written to", "No space left on device")
            written(path, content)

        monkeypatch.setattr(sealed, "write_bytes", refuse)

    return fill


@pytest.fixture(scope="session")
def shared_data():
    """Return the folder of real images and classifiers, or skip the test."""
    folder = Path(os.environ.get("EXPUNGE_DATA", "none"))
    if not (folder / "classifiers").is_dir():
        pytest.skip(f"no real data in {folder}; set EXPUNGE_DATA to the folder that holds cifar10/ and classifiers/")
    return folder
