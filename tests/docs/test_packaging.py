"""What a package index, a hub of code and a builder of pages read."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import expunge

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
YAML = [ROOT / "CITATION.cff", *sorted((ROOT / ".github").glob("**/*.yml"))]


def load_tool(name):
    """Return a script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_on_a_package_index_no_link_of_the_readme_is_relative():
    tool = load_tool("absolute_links")
    text = tool.with_absolute_links((ROOT / "README.md").read_text("utf-8"), "https://host/me/it", "v1")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links
    assert all(link.startswith(("https://", "#")) for link in links)
    assert "![" not in text or "https://host/me/it/raw/v1/docs/figures/report.png" in text


def test_the_readme_opens_with_one_sentence_and_a_picture():
    title, sentence, picture, *_ = (ROOT / "README.md").read_text("utf-8").split("\n\n")
    assert title == "# expunge"
    assert sentence.count(".") == 1
    assert picture.startswith("![")
    assert (ROOT / "docs" / "figures" / "report.png").stat().st_size < 300_000


def test_extras_that_are_named_exist_and_all_has_every_one_for_users():
    [everything] = EXTRAS["all"]
    inside = set(re.search(r"\[(.*)\]", everything)[1].split(","))
    assert inside == set(EXTRAS) - {"all", "dev", "docs", "loggers", "ray"}
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "src").glob("**/*.py"))
    named = set(re.findall(r'package_needed\("[^"]+", "([^"]+)"', sources))
    assert named
    assert named <= set(EXTRAS)


def test_classifiers_name_the_pythons_that_are_tested():
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8"))
    tested = set(workflow["jobs"]["test"]["strategy"]["matrix"]["python"])
    known = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line}
    assert known == tested


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_files_for_others_are_yaml(path):
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(path.read_text("utf-8"))


def test_the_citation_is_of_this_version():
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == expunge.__version__


def test_a_release_needs_no_password():
    yaml = pytest.importorskip("yaml")
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    publish = yaml.safe_load(text)["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert "secrets." not in text


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    for package in ("sphinx", "furo", "myst_nb", "sphinx_copybutton"):
        pytest.importorskip(package)
    words = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-d",
        tmp_path / "trees",
        "docs",
        tmp_path / "site",
    ]
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, "EXPUNGE_DOCS_NOTEBOOKS": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "api.html").read_text("utf-8")
    assert "expunge.unlearn" in page
    assert not re.search(r'href="[^"]*\.\./\.\./benchmarks', (tmp_path / "site" / "methods.html").read_text("utf-8"))
