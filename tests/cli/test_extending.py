"""Methods of other packages, the one of docs/extending.md among them."""

import ast
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from expunge.base.errors import SettingsError
from expunge.methods import OWN
from expunge.methods.descent import Descent
from expunge.methods.table import GROUP, MethodTable
from expunge.methods.unlearn import unlearn
from expunge.task.task import StopReason

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
ENTRY_POINTS = {"expunge.methods", "expunge.data"}


def block(language):
    """Return the first block of that language in the document."""
    return re.search(rf"```{language}\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)[1]


def python_blocks():
    """Return the document's code."""
    return re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that puts a package with a module and entry points where Python finds it."""

    def write(package, points, **modules):
        info = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"[{GROUP}]", *(f"{name} = {value}" for name, value in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(str(tmp_path))
        return tmp_path

    return write


@pytest.fixture
def example(install):
    """Return the folder in which the document's package is installed."""
    points = tomllib.loads(block("toml"))["project"]["entry-points"][GROUP]
    return install("expunge-second-best", points, second_best=block("python"))


def test_the_example_is_short():
    assert len(block("python").splitlines()) <= 60


def test_the_example_is_found_and_forgets(example, trained, rows):
    table = MethodTable(OWN)
    assert list(table) == [*(method.name for method in OWN), "second-best"]
    assert len(table) == len(OWN) + 1
    assert "second-best" in table
    assert "second_best" not in sys.modules, "it was imported before it was asked for"
    method = table["second-best"](smoothing=0.2, descent=Descent(learning_rate=0.02))
    edit = unlearn(trained, rows.rows([0, 1, 5]), method=method)
    assert edit.stop_reason is StopReason.GOAL_REACHED
    assert edit.settings["smoothing"] == 0.2


def test_the_goal_of_the_document_is_reached(trained, rows):
    code = next(code for code in python_blocks() if "class Outside" in code)
    scope = {"__name__": "a_module"}
    exec(code, scope)  # noqa: S102 - the text of the document
    wanted = rows.rows([0, 1, 5])
    group = tuple(sorted({int(label) for label in wanted.y}))
    edit = unlearn(trained, wanted, goal=scope["Outside"](group), method="l2ul")
    assert edit.stop_reason is StopReason.GOAL_REACHED
    assert not set(edit.classifier(wanted.x).argmax(1).tolist()) & set(group)


def test_the_example_runs_from_the_command_line(example, job):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(example), *sys.path])}
    flags = [flag for flag in job.flags if "attack" not in flag and flag != "--set"]
    flags += ["--method", "second-best", "--set", "descent.learning_rate=0.02", "--forget-random", "2", "--out", "out"]
    command = [sys.executable, "-m", "expunge", *flags]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode in (0, 5), done.stderr
    assert json.loads((job.folder / "out" / "result.json").read_text())["method"] == "second-best"


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (
            {"l2ul": "other:Method"},
            "`method`: expected l2ul from one package, got expunge and other-package; uninstall",
        ),
        ({"mine": "gone:Method"}, "`method mine of other-package`: expected a class that can be imported, got Module"),
        (
            {"mine": "other:number"},
            "expected a frozen dataclass with the parts of `Method`, got 5; it lacks name, summ",
        ),
        ({"mine": "second_best:SecondBest"}, "expected a class whose name is mine, got second-best"),
    ],
)
def test_what_is_wrong_with_another_package_is_named(install, points, words):
    install("other-package", points, other="number = 5\n", second_best=block("python"))
    with pytest.raises(SettingsError, match=words):
        MethodTable(OWN)["mine"]


def test_two_packages_with_the_same_name(install, example):
    install("other-package", {"second-best": "second_best:SecondBest"})
    with pytest.raises(SettingsError, match=r"got expunge-second-best and other-package|other-package and expunge-sec"):
        list(MethodTable(OWN))


def test_an_unknown_name_is_a_key_error():
    with pytest.raises(KeyError):
        MethodTable(OWN)["amnesia"]


def declared():
    """Return the names for extensions by module, from the document's table."""
    lines = DOCUMENT.read_text("utf-8").partition("## Modules for extensions")[2].splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    return {module.strip("`"): re.findall(r"`(\w+)`", names) for module, names in cells}


def imported(tree):
    """Return the package's modules and names that a module imports."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {(node.module, alias.name) for node in found for alias in node.names if node.module.startswith("expunge")}


@pytest.mark.parametrize("module", declared())
def test_what_is_declared_for_extensions_is_there_and_documented(module):
    names = declared()[module]
    assert names == sorted(names)
    for name in names:
        assert getattr(importlib.import_module(module), name).__doc__, name


def test_the_example_keeps_to_what_is_declared():
    names = {(module, name) for module, names in declared().items() for name in names}
    assert imported(ast.parse(block("python"))) <= names


def test_all_that_the_document_names_is_declared():
    prose = DOCUMENT.read_text("utf-8").partition("## Modules for extensions")[0]
    named = set(re.findall(r"`(expunge\.[\w.]+)`", prose)) - {"expunge.unlearn", *ENTRY_POINTS}
    modules = declared()
    assert {name for name in named if name not in modules and name.rpartition(".")[0] not in modules} == set()
