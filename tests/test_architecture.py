"""Imports run one way, and docs/architecture.md draws the same layers as pyproject.toml and the folders."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

import expunge

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(expunge.__file__).parent
DOCUMENT = ROOT / "docs" / "architecture.md"
MOST_NAMES = 14
AT_MOST = {"files under 40 lines": 22, "longest chain of imports": 22, "functions over 40 lines": 1}
NOT_A_ROOM = {"_version", "__init__", "__main__"}


def layers_of_the_contract():
    with (ROOT / "pyproject.toml").open("rb") as stream:
        contracts = tomllib.load(stream)["tool"]["importlinter"]["contracts"]
    [contract] = [each for each in contracts if each["containers"] == ["expunge"]]
    return [{name.strip() for name in layer.split("|")} for layer in contract["layers"]]


def rows_of_the_document():
    text = DOCUMENT.read_text("utf-8")
    table = text[text.index("<!-- layers") : text.index("<!-- end of layers")]
    return re.findall(r"^\| (`.+?`) \| (.+) \|$", table, flags=re.MULTILINE)


def names_at_the_top():
    return {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}


def test_imports_run_one_way():
    cli = pytest.importorskip("importlinter.cli")
    assert cli.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def test_every_name_at_the_top_has_a_layer_and_there_are_few():
    names = names_at_the_top() - NOT_A_ROOM
    assert names == set().union(*layers_of_the_contract())
    assert len(names) <= MOST_NAMES


def test_the_document_opens_with_the_layers_of_the_contract_in_their_order():
    assert [set(re.findall(r"`(\w+)`", names)) for names, _ in rows_of_the_document()] == layers_of_the_contract()
    assert DOCUMENT.read_text("utf-8").index("<!-- layers") < 600


def test_every_layer_has_one_sentence():
    for names, meaning in rows_of_the_document():
        assert meaning.endswith("."), names
        assert len(re.findall(r"\.(?: |$)", meaning)) == 1, names


def test_every_package_says_in_its_docstring_what_it_is_for():
    for folder in (path.parent for path in PACKAGE.glob("**/__init__.py")):
        first = (folder / "__init__.py").read_text("utf-8").splitlines()[0]
        assert first.startswith('"""'), folder


def test_the_document_names_only_modules_that_are_there():
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", DOCUMENT.read_text("utf-8")))
    missing = {name for name in named if not (PACKAGE / name).exists() and not list(PACKAGE.glob(f"*/{name}"))}
    assert not missing


def test_the_figures_of_the_layout_do_not_grow():
    figures = runpy.run_path(str(ROOT / "benchmarks" / "layout.py"))["measure"](PACKAGE)
    assert {name: figures[name] for name, most in AT_MOST.items() if figures[name] > most} == {}
