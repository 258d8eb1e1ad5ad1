"""TOML files of unknown origin."""

import tomllib
from pathlib import Path
from typing import Any

from expunge.base.errors import SettingsError


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        SettingsError: it can't be read, is no TOML, or is nested too deep.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        reason = "tables that are nested too deep" if isinstance(error, RecursionError) else str(error)
        raise SettingsError(str(path), "a TOML file that can be read", reason) from error
