"""The table of methods: the package's own, and those that other installed packages declare."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cached_property
from importlib.metadata import EntryPoint
from types import MappingProxyType
from typing import cast

from expunge.base.declared import find_declared, load_declared, place_of
from expunge.base.errors import ExpungeWarning, SettingsError
from expunge.methods.protocol import Method

GROUP, KIND = "expunge.methods", "method"
DEFAULT_METHOD = "least-change"
DECLARATIONS = ("name", "summary", "source", "aim", "needs", "goals", "strength", "run")


class MethodTable(Mapping[str, type[Method]]):
    """Method classes by name: the package's own, then those of the entry point group `expunge.methods`.

    Names are read from the metadata of installed packages when the table is first gone through; a package is imported
    when its method is looked up. A name that a method had before is understood for one release, with a warning.

    Raises:
        SettingsError: two packages declare a method of the same name, or what one declares is no method.
    """

    def __init__(self, own: Sequence[type[Method]], formerly: Mapping[str, str] = MappingProxyType({})) -> None:
        self._own = {method.name: method for method in own}
        self._formerly = formerly

    def __getitem__(self, name: str) -> type[Method]:
        if name in self._formerly:
            now = self._formerly[name]
            message = f"the method {name} is called {now} now; the old name is understood for one release"
            warnings.warn(message, ExpungeWarning, stacklevel=2)
            return self._own[now]
        return self._own[name] if name in self._own else _load(self._others[name])

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from self._others

    def __len__(self) -> int:
        return len(self._own) + len(self._others)

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._others or name in self._formerly

    @cached_property
    def _others(self) -> dict[str, EntryPoint]:
        return find_declared(GROUP, KIND, self._own)


def _load(point: EntryPoint) -> type[Method]:
    place, method = place_of(point, KIND), load_declared(point, KIND)
    lacks = _lacks(method)
    if lacks or not isinstance(method, type) or not is_dataclass(method):
        raise SettingsError(place, "a frozen dataclass with the parts of `Method`", f"{method!r}{lacks}")
    if cast(type[Method], method).name != point.name:
        raise SettingsError(place, f"a class whose name is {point.name}", cast(type[Method], method).name)
    return cast(type[Method], method)


def check_method(given: object) -> None:
    """Check that what was given in place of a method's name is a method.

    Raises:
        SettingsError: it is a class, or no dataclass, or lacks a part.
    """
    if isinstance(given, type):
        name = given.__name__
        raise SettingsError("method", "a name, or an object", f"the class {name}", f"write {name}()")
    lacks = _lacks(given)
    if lacks or not is_dataclass(given):
        raise SettingsError("method", "a name, or a frozen dataclass with the parts of `Method`", f"{given!r}{lacks}")


def _lacks(method: object) -> str:
    missing = [part for part in DECLARATIONS if not hasattr(method, part)]
    return f"; it lacks {', '.join(missing)}" if missing else ""
