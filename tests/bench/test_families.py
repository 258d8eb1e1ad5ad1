"""The short form of the sweep over families of networks: one test a network."""

import importlib.util
import sys
import warnings
from pathlib import Path

import pytest

pytest.importorskip("timm")
pytest.importorskip("torchvision")
pytest.importorskip("transformers")
SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "families.py"


@pytest.fixture(scope="module")
def families():
    """Return the benchmark's module."""
    spec = importlib.util.spec_from_file_location("families", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["families"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["families"]


@pytest.mark.parametrize("number", range(8))
def test_a_small_network_is_edited_rightly(families, number):
    [network] = [each for each in families.NETWORKS if each.key == families.SHORT[number]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        line = families.measure(network)
    assert line["gradients"] is True
    assert line["exact"] == line["robust"] == "goal_reached"
    assert sum(line["routes"].values()) > line["unedited"]


def test_there_are_sixty_networks_each_once_and_a_page_of_them(families):
    keys = [network.key for network in families.NETWORKS]
    assert len(set(keys)) == len(keys) >= 60
    assert set(families.SHORT) <= set(keys)
    line = {"network": "a:b", "family": "B", "weights": 1e6, "gradients": True, "seconds": 1.0}
    edited = {"exact": "goal_reached", "robust": "error: no", "routes": {"flow": 2}, "unedited": 1}
    page = families.make_page([{**line, **edited}, {**line, "gradients": False, "exact": "crash: X", "robust": "-"}])
    assert "| B | a:b | 1.00 | goal reached | error: no | 2 flow, 1 unedited | yes | 1 |" in page
    assert "exact edits reach their goal on 1, robust ones on 0; 1 end in" in page
