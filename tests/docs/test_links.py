"""Links to other sites: `make links` follows every one of them. Whether they lead somewhere needs the internet."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "benchmarks").glob("**/*.md"),
    *(ROOT / "docs").glob("**/*.md"),
    *(ROOT / "docs").glob("**/*.ipynb"),
]
LINK = re.compile(r"(?:\]\(|<)(https?://[^)>\s\"\\]+)[)>]")
ADDRESS = re.compile(r"https?://[^)>\]\s\"'`\\]+")
OTHER_FILES = ["pyproject.toml", "CITATION.cff"]


def without_code(page):
    """Return a page's text without what stands in blocks of code and in backticks."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`]+`", "", text)


def links():
    return {link for page in PAGES for link in LINK.findall(without_code(page))}


def test_an_address_in_a_page_is_a_link():
    for page in PAGES:
        text = without_code(page)
        assert set(ADDRESS.findall(text)) == set(LINK.findall(text)), page


@pytest.mark.parametrize("name", OTHER_FILES)
def test_addresses_elsewhere_are_links_of_a_page(name):
    found = set(ADDRESS.findall((ROOT / name).read_text("utf-8")))
    assert found <= links()


def test_the_workflow_follows_them():
    make, workflow = ((ROOT / name).read_text("utf-8") for name in ("Makefile", ".github/workflows/test.yml"))
    assert "-b linkcheck -c tools/links . build/links" in make
    assert "run: make links" in workflow


@pytest.mark.slow
def test_every_link_is_followed(tmp_path):
    for package in ("sphinx", "myst_nb"):
        pytest.importorskip(package)
    words = [sys.executable, "-m", "sphinx", "-q", "-b", "linkcheck", "-c", "tools/links", "-D", "linkcheck_ignore=.*"]
    words += ["-d", tmp_path / "trees", ".", tmp_path / "out"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = (tmp_path / "out" / "output.json").read_text("utf-8").splitlines()
    followed = {json.loads(line)["uri"] for line in lines}
    assert {link for link in followed if link.startswith("http")} == links()
    assert len(links()) > 20
