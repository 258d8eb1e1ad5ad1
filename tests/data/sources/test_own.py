"""Images from the user's own code; what works is in tests/contract/test_ways_in.py."""

import sys

import pytest
import torch

from expunge.base.errors import DataError, SettingsError
from expunge.data import DataRequest, load_data
from expunge.data.sources.table import SOURCES, names_own_function
from expunge.jobs.job import refuse_code


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that writes a module of the user's where it is found."""
    monkeypatch.chdir(tmp_path)

    def write(text):
        (tmp_path / "own_images.py").write_text(text)
        sys.modules.pop("own_images", None)

    yield write
    sys.modules.pop("own_images", None)


def test_splits_are_taken_as_they_are(module):
    module(
        "import torch\nfrom expunge.data.images import TensorImages\n"
        "from expunge.data.sources.splits import DataSplits\n"
        "SPLITS = DataSplits(TensorImages(['a'], torch.tensor([1]), torch.zeros(1, 3, 2, 2)), None, ('x', 'y'))\n"
        "def load(): return SPLITS\n"
    )
    found = load_data("own_images:load", DataRequest(num_classes=2))
    assert found.class_names == ("x", "y")
    assert torch.equal(found.train.labels, torch.tensor([1]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def other(): pass", r"own_images:load`: expected a function in own_images, got none of that name"),
        ("def load(path): pass", r"expected a function that works without arguments, got TypeError"),
        ("def load(): raise SystemExit(3)", r"expected a function that works without arguments, got SystemExit: 3"),
        ("def load(): return 7", r"expected a ForgetSet, .*, got int"),
        ("import nowhere", r"expected a module that can be imported, or one of npz:PATH"),
        (
            "import torch\ndef load(): return torch.zeros(1, 3, 2, 2), [5]",
            r"expected training labels in 0\.\.2, the classifier's classes, got 5",
        ),
    ],
)
def test_what_is_wrong_with_a_function_is_named(module, text, words):
    module(text)
    with pytest.raises(DataError, match=words):
        load_data("own_images:load", DataRequest(num_classes=3))


@pytest.mark.parametrize("spec", [f"{kind}:name" for kind in SOURCES])
def test_sources_of_the_package_are_no_functions(spec):
    assert not names_own_function(spec)


def test_a_file_that_names_a_function_for_images_is_refused():
    with pytest.raises(SettingsError, match="a file that names no code, got own_images:load, which would be run"):
        refuse_code({"data": {"source": "own_images:load"}}, "job.toml")
    refuse_code({"data": {"source": "npz:images"}}, "job.toml")
