"""What a project is told of its images and its classifier must mean the same in another folder."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from expunge.base import declared
from expunge.cli.requests.sources import FILES, OR_NAMES, WITH_OPTIONS, absolute_source
from expunge.data.sources.table import OPTIONS, SOURCES


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return the current folder, with files and folders of all names below."""
    (tmp_path / "here").mkdir()
    for name in ("there", "load", "CIFAR10", "a?b"):
        (tmp_path / "here" / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "here"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("npz:there", "npz:{here}/there"),
        ("npz:some.npz?first=100", "npz:{here}/some.npz?first=100"),
        ("npz:a?b?first=100", "npz:{here}/a?b?first=100"),
        ("folder:there", "folder:{here}/there"),
        ("folder:a?b", "folder:{here}/a?b"),
        ("folder:not-yet", "folder:{here}/not-yet"),
        ("folder:.", "folder:{here}"),
        ("tar:../x.tar", "tar:{home}/x.tar"),
        ("cifar10:~", "cifar10:{home}"),
        ("utkface:there?ages=mfd&test=0.2", "utkface:{here}/there?ages=mfd&test=0.2"),
        ("hf:there", "hf:{here}/there"),
        ("hf:there?train=all", "hf:{here}/there?train=all"),
        ("torchvision:CIFAR10:there", "torchvision:CIFAR10:{here}/there"),
        ("torchvision:CIFAR10:~/data", "torchvision:CIFAR10:{home}/data"),
        ("timm:local-dir:there", "timm:local-dir:{here}/there"),
        ("timm:local-dir:there?in_chans=1", "timm:local-dir:{here}/there?in_chans=1"),
        ("transformers:there", "transformers:{here}/there"),
        ("photos:there", "photos:{here}/there"),
    ],
)
def test_a_file_or_folder_becomes_an_absolute_path(here, monkeypatch, source, expected):
    points = EntryPoints([EntryPoint("photos", "anything:load", "expunge.data")])
    monkeypatch.setattr(declared, "entry_points", lambda group: points.select(group=group))
    wanted = expected.format(here=here, home=here.parent)
    assert absolute_source(source) == wanted
    assert absolute_source(wanted) == wanted


@pytest.mark.parametrize(
    "source",
    [
        "mine:load",
        "mine.images:load",
        "hf:owner/name",
        "hf:owner/name?train=all",
        "torchvision:resnet18",
        "torchvision:CIFAR10",
        "timm:resnet18?pad_type=same",
        "timm:hf-hub:owner/name",
        "transformers:owner/name",
        "cifar:resnet20",
        "there",
        "folder:",
        "",
    ],
)
def test_everything_else_stays_as_it_is(here, source):
    assert absolute_source(source) == source


def test_every_source_of_images_is_known():
    assert {*FILES, "hf", "torchvision"} == set(SOURCES)
    assert set(WITH_OPTIONS) == set(OPTIONS)
    assert not set(FILES) & set(OR_NAMES)
