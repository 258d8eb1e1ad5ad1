"""Figures that other installed packages declare in the entry point group `expunge.figures`."""

import math
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint

from expunge.audit.collect.collected import Gathered
from expunge.audit.figures.definition import WORDS, Definition, Judged
from expunge.audit.metrics.estimate import Estimate, NotDefinedError
from expunge.audit.record import Direction
from expunge.base.declared import blaming, find_declared, load_declared, place_of
from expunge.base.errors import ExpungeWarning, SettingsError

GROUP, KIND = "expunge.figures", "figure"
NAME = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")


def declared_figures(own: Iterable[str]) -> dict[str, Definition]:
    """Return the definitions by name; their packages are imported.

    An error of such a package while it computes leaves its figure without a value, and all others as they are. The
    error, on one line and with the names of figure and package, is the reason.

    Args:
        own: names of this package's figures.

    Raises:
        SettingsError: a package can't be imported, what it declares is no figure, or two declare the same name.

    Warns:
        ExpungeWarning: once a figure is computed whose code raises an error.
    """
    return {name: _load(point) for name, point in find_declared(GROUP, KIND, own).items()}


def _load(point: EntryPoint) -> Definition:
    place, found = place_of(point, KIND), load_declared(point, KIND)
    if NAME.fullmatch(point.name) is None:
        raise SettingsError(place, "a name like topic.figure, in lower case", point.name)
    if not isinstance(found, Definition):
        raise SettingsError(place, "an object of the class Definition", type(found).__name__)
    texts = (found.title, found.unit, found.measured_on)
    if not all(isinstance(each, str) for each in texts) or not isinstance(found.direction, Direction):
        raise SettingsError(place, "texts for title, unit and measured_on, and a Direction", repr(found))
    if found.target is not None and not math.isfinite(found.target):
        raise SettingsError(place, "a finite target", str(found.target))
    with blaming(point, KIND, f"words in braces only of {', '.join(WORDS)}"):
        "".join(texts).format(**dict.fromkeys(WORDS, ""))
    return replace(found, compute=_Guarded(point, found.compute))


@dataclass(frozen=True, slots=True)
class _Guarded:
    """A function of another package; whatever goes wrong in it is the reason why its figure has no value."""

    point: EntryPoint
    compute: Callable[[Gathered], Estimate | Judged | float]

    def __call__(self, data: Gathered) -> Judged | Estimate:
        try:
            with blaming(self.point, KIND, "a finite figure of these inputs", NotDefinedError):
                found = self.compute(data)
                judged = found if isinstance(found, Judged | Estimate) else Estimate(float(found))
                _check_finite(judged)
                return judged
        except SettingsError as error:
            warnings.warn(str(error), ExpungeWarning, stacklevel=2)
            raise NotDefinedError(str(error)) from error


def _check_finite(found: Judged | Estimate) -> None:
    """Check every number of a figure: JSON has no other.

    Raises:
        ValueError: one is not finite.
    """
    estimate = found.estimate if isinstance(found, Judged) else found
    numbers = [estimate.value, *(estimate.interval or ())]
    if isinstance(found, Judged):
        numbers += [found.tolerance] if found.target is None else [found.tolerance, found.target]
    wrong = [number for number in numbers if not math.isfinite(number)]
    if wrong:
        raise ValueError(f"{wrong[0]}")
