"""Imports run one way, and every module has its place in the layers of pyproject.toml."""

import tomllib
from pathlib import Path

import pytest

import expunge

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(expunge.__file__).parent
OUTSIDE = {"_version", "__init__", "__main__"}


def contract():
    with (ROOT / "pyproject.toml").open("rb") as stream:
        return tomllib.load(stream)["tool"]["importlinter"]["contracts"][0]


def test_imports_run_one_way():
    cli = pytest.importorskip("importlinter.cli")
    assert cli.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def test_every_module_has_a_layer():
    placed = {name.strip().removeprefix("expunge.") for layer in contract()["layers"] for name in layer.split("|")}
    modules = {path.stem for path in PACKAGE.glob("*.py")} | {
        path.parent.name for path in PACKAGE.glob("*/__init__.py")
    }
    assert modules - OUTSIDE == placed
