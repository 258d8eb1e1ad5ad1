"""Values of settings: whether they are of the type that a field says, and how they are read from text."""

import json
import types
from enum import StrEnum
from math import isfinite
from typing import Any, Union, get_args, get_origin

from expunge.base.errors import SettingsError

LARGEST = 2**63
"""The least whole number that doesn't fit into a tensor."""


def choices(hint: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """Return the types of a union, or the one type.

    >>> choices(int | None)
    (<class 'int'>, <class 'NoneType'>)
    """
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def words_of(hint: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return the words that may be said for a field of that type; empty where it may hold anything else.

    >>> words_of(bool), words_of(int | None)
    (('true', 'false'), ())
    """
    words: list[str] = []
    for choice in choices(hint):
        if isinstance(choice, type) and issubclass(choice, StrEnum):
            words += list(choice)
        elif choice is bool:
            words += ["true", "false"]
        elif choice is type(None):
            words.append("none")
        else:
            return ()
    return tuple(words)


def check_type(name: str, value: Any, hint: Any) -> None:  # noqa: ANN401
    """Check that a value is of the type that a field says, and one that tensors and files can hold.

    Args:
        name: of the setting, for the message.
        value: finite numbers below 2 to the 63rd, text in UTF-8, tuples of them, members of enums, or None.
        hint: the field's type.

    Raises:
        SettingsError: it is another one.
    """
    for choice in choices(hint):
        plain = get_origin(choice) or choice
        if plain is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            if not (abs(value) < LARGEST if isinstance(value, int) else isfinite(value)):
                raise SettingsError(name, "a finite number", _short(value))
            return
        if isinstance(value, plain) and not (plain is int and isinstance(value, bool)):
            _check_plain(name, value)
            return
    raise SettingsError(name, name_type(hint), repr(value))


def _check_plain(name: str, value: Any) -> None:  # noqa: ANN401
    """Refuse whole numbers that no tensor holds, and text that no file can."""
    for item in value if isinstance(value, tuple) else (value,):
        if isinstance(item, int) and abs(item) >= LARGEST:
            raise SettingsError(name, "a whole number below 2 to the 63rd", _short(item))
        if isinstance(item, float) and not isfinite(item):
            raise SettingsError(name, "finite numbers", str(item))
        if isinstance(item, str) and item != item.encode("utf-8", "replace").decode():
            raise SettingsError(name, "text in UTF-8", repr(item))


def _short(value: float) -> str:
    return f"one of {value.bit_length()} bits" if isinstance(value, int) else str(value)


def read_value(name: str, value: Any, hint: Any) -> Any:  # noqa: ANN401
    """Return a value of the field's type from text of a flag, or from what a file holds.

    Args:
        name: of the setting, for the message.
        value: text, a number, a list, or already of the type.
        hint: the field's type.

    Raises:
        SettingsError: nothing of that type can be read from it.

    >>> read_value("sizes", "1,2", tuple[int, ...])
    (1, 2)
    """
    for choice in choices(hint):
        plain = get_origin(choice) or choice
        if plain is type(None):
            if value is None or value in ("none", ""):
                return None
        elif plain is tuple and isinstance(value, (str, list, tuple)):
            items = value.split(",") if isinstance(value, str) else value
            return tuple(read_value(name, item, get_args(choice)[0]) for item in items)
        elif isinstance(plain, type) and issubclass(plain, StrEnum):
            if value in list(plain):
                return plain(value)
        elif plain in (int, float) and isinstance(value, str):
            number = _number(value)
            if number is not None and (plain is float or isinstance(number, int)):
                return number
        elif isinstance(value, plain) or (plain is float and isinstance(value, int)):
            return value
    raise SettingsError(name, name_type(hint), repr(value))


def _number(text: str) -> int | float | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = float(text)
        except ValueError:
            return None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def name_type(hint: Any) -> str:  # noqa: ANN401
    """Return what a type is called in an error.

    >>> name_type(int | None)
    'a whole number or none'
    """
    names = {int: "a whole number", float: "a number", str: "text", tuple: "a list", type(None): "none"}
    words = []
    for choice in choices(hint):
        plain = get_origin(choice) or choice
        if isinstance(plain, type) and issubclass(plain, StrEnum):
            words.append("one of " + ", ".join(plain))
        else:
            words.append(names.get(plain, getattr(plain, "__name__", str(plain))))
    return " or ".join(words)
