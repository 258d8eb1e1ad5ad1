"""Methods, figures and sources of other packages, those of docs/extending.md among them."""

import ast
import importlib
import json
import math
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from expunge.audit.collect.collected import Gathered
from expunge.audit.figures.definition import WORDS
from expunge.audit.figures.table import _words, compute_figures
from expunge.audit.metrics.predicted import Part
from expunge.audit.run import run_audit
from expunge.base.errors import ExpungeError, ExpungeWarning, SettingsError
from expunge.data import load_data
from expunge.methods import OWN
from expunge.methods.descent import Descent
from expunge.methods.table import GROUP, MethodTable
from expunge.methods.unlearn import unlearn
from expunge.task.evaluation import RobustGoal
from expunge.task.task import StopReason

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
ENTRY_POINTS = {"expunge.methods", "expunge.data", "expunge.figures"}


def block(language):
    """Return the first block of that language in the document."""
    return re.search(rf"```{language}\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)[1]


def python_blocks():
    """Return the document's code."""
    return re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that puts a package with a module and entry points where Python finds it."""

    def write(package, points, group=GROUP, **modules):
        info = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
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
    method = ["--method", "second-best", "--set", "descent.learning_rate=0.02"]
    command = [sys.executable, "-m", "expunge", *job.plain, *method, "--forget-random", "2", "--out", "out"]
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
        ({"mine": "gone:Method"}, "`method mine of other-package`: expected an object that can be imported, got"),
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


ENTROPY = "undecided.entropy"


@pytest.fixture
def gathered():
    """Return what a quick audit gathers, of four images in three classes."""
    labels, logits = np.array([0, 1, 2, 0]), np.log(np.array([[0.5, 0.25, 0.25]] * 4, dtype=np.float32))
    part = Part("forget", ("a", "b", "c", "d"), labels, logits, logits)
    copies = RobustGoal(0.0, {"mirrored": 0.0}, 0.0, 32, (0.0,) * 4)
    return Gathered(goal="misclassify", goal_labels=labels, parts={"forget": part}, copies=copies, seed=0)


@pytest.fixture
def figure(install):
    """Return a function that installs a package which declares a figure of a body, of the document's otherwise."""
    code = next(code for code in python_blocks() if "UNDECIDED" in code)

    def write(body=None, *, name=ENTROPY, extra=""):
        text = code if body is None else re.sub(r"    logits = .*?(?=\n\n\n)", lambda _: body, code, flags=re.DOTALL)
        install("other-figures", {name: "undecided:UNDECIDED"}, "expunge.figures", undecided=text + extra)

    return write


def test_the_figure_of_the_document_is_computed(figure, gathered):
    declared = next(
        block for block in re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL) if ENTROPY in block
    )
    assert tomllib.loads(declared)["project"]["entry-points"] == {"expunge.figures": {ENTROPY: "undecided:UNDECIDED"}}
    figure()
    found = compute_figures(gathered)
    assert list(found)[-1] == ENTROPY
    assert found[ENTROPY].value == pytest.approx(1.5 * math.log(2), rel=1e-5)
    assert (found[ENTROPY].title, found[ENTROPY].measured_on) == (
        "Entropy of the answers to forgotten images",
        "4 forgotten images",
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("    return 1 / 0", "got ZeroDivisionError: division by zero"),
        ("    return float('nan')", "got ValueError: nan"),
        ("    return 'much'", "got ValueError: could not convert string to float: 'much'"),
        ("    raise KeyError('one\\n  line')", "got KeyError: "),
        ("    raise SystemExit(3)", "got SystemExit: 3"),
    ],
)
def test_an_error_in_a_figure_is_its_reason_and_names_the_package(figure, gathered, body, words):
    figure(body)
    with pytest.warns(ExpungeWarning, match="figure undecided.entropy of other-figures") as noted:
        found = compute_figures(gathered)
    reason = found[ENTROPY].reason
    assert found[ENTROPY].value is None
    assert reason.startswith("`figure undecided.entropy of other-figures`: expected a finite figure of these inputs")
    assert words in reason
    assert "\n" not in reason
    assert [str(note.message) for note in noted] == [reason]
    assert found["goal.exact"].value is not None


def test_a_figure_that_is_not_defined_is_no_error(figure, gathered):
    figure("    raise NotDefinedError('there is no reason')")
    assert compute_figures(gathered)[ENTROPY].reason == "there is no reason"


@pytest.mark.parametrize(
    ("extra", "name", "words"),
    [
        ("\nraise OSError('no\\nfile')", ENTROPY, "expected an object that can be imported, got OSError: no file$"),
        ("\nUNDECIDED = 5", ENTROPY, "expected an object of the class Definition, got int"),
        ("\nUNDECIDED = Definition('a', 'b', 'up', 'c', len)", ENTROPY, "and a Direction, got Definition"),
        (
            "\nUNDECIDED = Definition('{rose}', '', Direction.NONE, 'c', len)",
            ENTROPY,
            "words in braces only of .*'rose'",
        ),
        (
            "\nUNDECIDED = Definition('{', '', Direction.NONE, 'c', len)",
            ENTROPY,
            "words in braces only of .*ValueError",
        ),
        ("\nUNDECIDED = Definition('a', '', Direction.NEAR, 'c', len, math.nan)", ENTROPY, "a finite target, got nan"),
        ("", "Entropy", "expected a name like topic.figure, in lower case, got Entropy"),
        ("", "goal.exact", "expected goal.exact from one package, got expunge and other-figures; uninstall one"),
    ],
)
def test_what_is_no_figure_is_named_before_anything_is_measured(figure, extra, name, words, tmp_path):
    figure(name=name, extra="\nimport math" + extra)
    with pytest.raises(SettingsError, match=words) as caught:
        run_audit(None, tmp_path / "audit", level=None, pictures=False, runtime=None)
    assert "\n" not in str(caught.value)
    assert "other-figures" in str(caught.value)


def test_the_words_for_titles_are_those_that_are_filled_in(gathered):
    assert set(_words(gathered)) == set(WORDS)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise RuntimeError('two\\nlines')", "`source shelf of other-source`: .*got RuntimeError: two lines$"),
        ("return [1, 2]", "`source shelf of other-source`: expected a function that returns DataSplits, got list"),
        ("raise DataError('shelf', 'a key', 'none')", "^`shelf`: expected a key, got none$"),
    ],
)
def test_an_error_in_a_source_names_the_package(install, body, words):
    code = f"from expunge.base.errors import DataError\ndef load(place, request):\n    {body}\n"
    install("other-source", {"shelf": "other_source:load"}, "expunge.data", other_source=code)
    with pytest.raises(ExpungeError, match=words):
        load_data("shelf:somewhere")


def test_a_source_that_cant_be_imported_or_is_there_twice_names_its_packages(install):
    install("one-source", {"shelf": "gone_source:load"}, "expunge.data")
    with pytest.raises(SettingsError, match="source shelf of one-source`: expected an object that can be imported"):
        load_data("shelf:somewhere")
    install("two-source", {"npz": "gone_source:load"}, "expunge.data")
    with pytest.raises(SettingsError, match="expected npz from one package, got expunge and two-source"):
        load_data("shelf:somewhere")


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
