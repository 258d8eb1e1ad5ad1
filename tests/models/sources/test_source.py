import pytest

from expunge.base.errors import ClassifierError
from expunge.models.pixels import Normalisation
from expunge.models.sources import ModelSource
from expunge.models.sources.source import parse_architecture


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("resnet18", "resnet18", {}),
        ("a?b=1", "a", {"b": 1}),
        ("a?b=0.5&c=True&d=None", "a", {"b": 0.5, "c": True, "d": None}),
        ("a?pad=same&size=(7, 8)&empty=", "a", {"pad": "same", "size": (7, 8), "empty": ""}),
        ("a?b=__import__('os')", "a", {"b": "__import__('os')"}),
    ],
)
def test_options_are_literals_or_text(text, name, options):
    architecture = parse_architecture(text)
    assert (architecture.name, dict(architecture.options)) == (name, options)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("?a=1", "`architecture`: expected a name after the colon"),
        ("a?b", "`options of a`: expected key=value, joined by &, got b"),
        ("a?b=1&&c=2", "expected key=value, joined by &, got nothing"),
        ("a?b=1&b=2", "expected each option once, got b=2"),
        ("a?num_classes=3", "expected the weights and the class count as settings of their own"),
        ("a?pretrained=True", "settings of their own, got pretrained=True"),
    ],
)
def test_wrong_options_are_named(text, words):
    with pytest.raises(ClassifierError, match=words):
        parse_architecture(text)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mean": (0.5,)}, "expected both or neither, got only mean; pass --mean and --std"),
        ({"std": (0.5,)}, "expected both or neither, got only std"),
        ({"mean": (0.5,), "std": (1.0, 1.0, 1.0)}, "`std`: expected 1 values as in mean, got 3"),
    ],
)
def test_contradictory_normalisations_are_refused(settings, words):
    with pytest.raises(ClassifierError, match=words):
        Normalisation.read(settings.get("mean"), settings.get("std"))


def test_one_class_is_refused():
    with pytest.raises(ClassifierError, match="`num_classes`: expected at least 2, got 1"):
        ModelSource("cifar:resnet20", num_classes=1)
