"""Hyper-parameters as frozen dataclasses: ranges checked at construction, read from flags or a file.

A method's fields are declared with `setting`, which keeps default, range and meaning in one place; the command line's
help, the tables and the checks all read them from there.
"""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import StrEnum
from typing import Any, TypeVar, get_type_hints

from expunge.base.errors import ExpungeWarning, SettingsError, suggest
from expunge.base.values import check_type, read_value, words_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Range:
    """The values that a setting may take; None is no limit."""

    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        parts = [
            text
            for limit, text in (
                (self.above, f"above {self.above}"),
                (self.at_least, f"at least {self.at_least}"),
                (self.at_most, f"at most {self.at_most}"),
            )
            if limit is not None
        ]
        return " and ".join(parts) or "any value"

    def __contains__(self, value: float) -> bool:
        return (
            (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """One hyper-parameter, for tables and help texts; `name` is dotted where it is nested.

    `spread` is by which factor `expunge tune` goes below and above the default; None: it leaves the setting alone.
    `words` are the values that a setting may have that is no number; empty where any will do.
    """

    name: str
    default: Any
    meaning: str
    range: Range
    spread: float | None = None
    words: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """Return which values it may have."""
        return ", ".join(self.words) or str(self.range)


def setting(  # noqa: PLR0913 - what is said of a setting, five of them optional
    default: Any,  # noqa: ANN401 - any type of setting
    meaning: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    spread: float | None = None,
    formerly: str | None = None,
) -> Any:  # noqa: ANN401 - what dataclasses.field returns, too
    """Return a dataclass field with a default, a meaning in words, a range, and the factor by which it is tuned.

    A name that the setting had before, `formerly`, is still read for one release, with a warning.
    """
    metadata = {"meaning": meaning, "range": Range(above, at_least, at_most), "spread": spread, "formerly": formerly}
    return field(default=default, metadata=metadata)


def check_settings(settings: Any) -> None:  # noqa: ANN401 - any dataclass of settings
    """Check every field against its type and range; call it in `__post_init__`.

    Raises:
        SettingsError: a value is of the wrong type, not finite, or out of range.
    """
    hints = get_type_hints(type(settings))
    for item in fields(settings):
        value = getattr(settings, item.name)
        check_type(item.name, value, hints[item.name])
        allowed: Range = item.metadata.get("range", Range())
        if isinstance(value, (int, float)) and value not in allowed:
            raise SettingsError(item.name, str(allowed), str(value))


class Settings:
    """Hyper-parameters that are checked when they are made; for frozen dataclasses whose fields are settings."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Check every field; see `check_settings`."""
        check_settings(self)


def describe_settings(settings: Any, prefix: str = "") -> list[Setting]:  # noqa: ANN401 - a dataclass, or its type
    """Return the settings of a dataclass, nested ones with dotted names, defaults as JSON-ready values."""
    found, hints = [], get_type_hints(settings if isinstance(settings, type) else type(settings))
    for item in fields(settings):
        value = _default(item) if isinstance(settings, type) else getattr(settings, item.name)
        name = prefix + item.name
        if is_dataclass(value):
            found += describe_settings(value, name + ".")
        else:
            meaning, allowed = item.metadata.get("meaning", ""), item.metadata.get("range", Range())
            words = words_of(hints[item.name])
            found.append(Setting(name, _plain(value), meaning, allowed, item.metadata.get("spread"), words))
    return found


def to_mapping(settings: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass of settings
    """Return the settings as nested plain values, for JSON and TOML.

    None is left out, or "none" where a table's default is something else.
    """
    return _to_mapping(settings, type(settings))


def _to_mapping(settings: Any, default: Any) -> dict[str, Any]:  # noqa: ANN401
    mapping: dict[str, Any] = {}
    for item in fields(settings):
        value = getattr(settings, item.name)
        if is_dataclass(value):
            mapping[item.name] = _to_mapping(value, _default(item))
        elif value is not None:
            mapping[item.name] = _plain(value)
        elif getattr(default, item.name, None) is not None and not isinstance(default, type):
            mapping[item.name] = "none"
    return mapping


def from_mapping(kind: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """Return settings of `kind` from nested values; what is not named keeps its default.

    Strings are read as the type of their field, so that flags and files go the same way.

    Raises:
        SettingsError: a name is unknown (the known ones are listed), or a value doesn't fit.
    """
    hints = get_type_hints(kind)
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for name, value in _with_new_names(values, known.values(), prefix).items():
        if name not in known:
            hint = suggest(name, (item.name for item in describe_settings(kind)))
            expected = f"one of {', '.join(known) or 'no settings'}"
            raise SettingsError(prefix + name, expected, "an unknown setting", hint)
        default = _default(known[name])
        if is_dataclass(default):
            if not isinstance(value, Mapping):
                raise SettingsError(prefix + name, "a table of settings", repr(value))
            given[name] = from_mapping(type(default), {**to_mapping(default), **value}, f"{prefix}{name}.")
        else:
            given[name] = read_value(prefix + name, value, hints[name])
    try:
        return kind(**given)
    except SettingsError as error:
        if prefix and error.name in known:
            raise error.renamed(prefix + error.name) from error
        raise


def _with_new_names(values: Mapping[str, Any], items: "Iterable[Field[Any]]", prefix: str) -> dict[str, Any]:
    """Return the values under the names that settings have now.

    Warns:
        ExpungeWarning: a setting has a new name.
    """
    renamed = {item.metadata["formerly"]: item.name for item in items if item.metadata.get("formerly")}
    for old in values.keys() & renamed.keys():
        message = f"`{prefix}{old}` is called `{prefix}{renamed[old]}` now; the old name is read for one release"
        warnings.warn(message, ExpungeWarning, stacklevel=2)
    return {renamed.get(name, name): value for name, value in values.items()}


def nest(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested tables for dotted names.

    >>> nest({"attack.radius": 2, "rate": 1})
    {'attack': {'radius': 2}, 'rate': 1}
    """
    nested: dict[str, Any] = {}
    for name, value in dotted.items():
        *tables, last = name.split(".")
        place = nested
        for table in tables:
            place = place.setdefault(table, {})
            if not isinstance(place, dict):
                raise SettingsError(name, "a table of settings", "a value with the same name")
        place[last] = value
    return nested


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested tables with the values of `above` over those of `below`.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
    {'a': {'b': 3, 'c': 2}}
    """
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _default(item: "Field[Any]") -> Any:  # noqa: ANN401
    return item.default_factory() if item.default_factory is not MISSING else item.default


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, StrEnum):
        return value.value
    return list(value) if isinstance(value, tuple) else value
