"""What other installed packages declare in a group of entry points: found by name, imported when asked for."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from expunge.base.errors import SettingsError, one_line


def find_declared(group: str, kind: str, own: Iterable[str]) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, sorted; nothing is imported.

    Args:
        group: such as "expunge.methods".
        kind: what is declared in it, for messages: "method".
        own: names that this package has itself.

    Raises:
        SettingsError: two packages declare the same name, or one declares a name of this package.
    """
    own = list(own)
    found = sorted(entry_points(group=group), key=lambda point: point.name)
    counts = Counter([*own, *(point.name for point in found)])
    twice = next((point.name for point in found if counts[point.name] > 1), None)
    if twice is not None:
        packages = ["expunge"] * (twice in own) + [_package(point) for point in found if point.name == twice]
        raise SettingsError(
            kind, f"{twice} from one package", " and ".join(packages), f"uninstall one, or rename its {kind}"
        )
    return {point.name: point for point in found}


def load_declared(point: EntryPoint, kind: str) -> Any:  # noqa: ANN401 - another package's object
    """Return the object that an entry point names; its package is imported.

    Raises:
        SettingsError: that fails.
    """
    with blaming(point, kind, "an object that can be imported"):
        return point.load()


def place_of(point: EntryPoint, kind: str) -> str:
    """Return an entry point's name and package, for messages: "method mine of other-package"."""
    return f"{kind} {point.name} of {_package(point)}"


@contextmanager
def blaming(point: EntryPoint, kind: str, expected: str, *let_pass: type[Exception]) -> Iterator[None]:
    """Turn whatever another package's code raises into an error of one line that names it.

    Args:
        point: what it declared.
        kind: see `find_declared`.
        expected: what its code should have done.
        let_pass: errors that it may raise.

    Raises:
        SettingsError: the code raised something else.
    """
    try:
        yield
    except let_pass:
        raise
    except (Exception, SystemExit) as error:
        raise SettingsError(place_of(point, kind), expected, one_line(error)) from error


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
