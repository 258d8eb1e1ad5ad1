import base64
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
from sample_audit import FILES, HOSTILE, write_sample_audit

from expunge.base.errors import DataError
from expunge.report import write_comparison, write_report

LARGEST = 250_000


def test_report_is_written_into_the_folder_of_the_audit(audit):
    before = {path.name for path in audit.iterdir()}
    assert write_report(audit) == audit / "report.html"
    assert {path.name for path in audit.iterdir()} - before == {"report.html"}


def test_no_torch_is_loaded():
    script = "import sys, expunge.report, expunge.cli.report; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_same_audit_gives_the_same_page(audit, tmp_path):
    first = write_report(audit, out=tmp_path / "first.html").read_bytes()
    assert write_report(audit, out=tmp_path / "second.html").read_bytes() == first


def test_drawings_are_named_and_described(audit, parse):
    page = parse(write_report(audit).read_text("utf-8"))
    drawings = [each for each in page.all("svg") if each.get("aria-hidden") != "true"]
    assert len(drawings) >= 12
    for drawing in drawings:
        assert drawing["role"] == "img"
        title, description = (page.by_id(name) for name in drawing["aria-labelledby"].split())
        assert (title["tag"], description["tag"]) == ("title", "desc")
        assert len(title["text"]) > 10
        assert len(description["text"]) > 20
    assert all(each.get("alt") for each in page.all("img"))


def test_each_panel_has_a_sentence_on_how_to_read_it(audit, parse):
    page = parse(write_report(audit).read_text("utf-8"))
    readings = [each for each in page.all("p") if each.get("class") == "reading" and each["in"][-1] == "article"]
    assert len(page.all("article")) == len(readings) == 11
    assert all(each["text"].endswith(".") for each in readings)
    assert all(each["text"].strip() for each in page.all("th"))


def test_ids_are_unique_and_whatever_refers_to_one_finds_it(audit, parse):
    page = parse(write_report(audit).read_text("utf-8"))
    ids = [each["id"] for each in page.elements if "id" in each]
    assert len(ids) == len(set(ids))
    wanted = {
        name
        for each in page.elements
        for key in ("aria-labelledby", "aria-describedby", "data-for")
        for name in each.get(key, "").split()
    } | {each["href"].removeprefix("#") for each in page.all("a")}
    assert wanted <= set(ids)


def test_nothing_refers_to_the_network(audit):
    content = write_report(audit).read_text("utf-8")
    assert "http:" not in content
    assert "https:" not in content
    assert "url(" not in content
    assert "@import" not in content


def test_the_policy_names_exactly_our_style_and_script(audit, parse):
    page = parse(write_report(audit).read_text("utf-8"))
    (policy,) = [each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        (element,) = page.all(tag)
        digest = base64.b64encode(hashlib.sha256(element["text"].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not [each for each in page.elements if "style" in each or any(key.startswith("on") for key in each)]


def test_the_page_is_small(audit):
    assert write_report(audit).stat().st_size < LARGEST


def test_text_from_outside_is_escaped(tmp_path, parse):
    ids = [f"{text}{number}" for number, text in enumerate(HOSTILE)]
    folder = write_sample_audit(tmp_path / "hostile", ids=ids, classes=HOSTILE, method=HOSTILE[0])
    content = write_report(folder).read_text("utf-8")
    page = parse(content)
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert not page.all("b")
    assert HOSTILE[0] in page.all("h1")[0]["text"] + page.all("title")[0]["text"]
    rows = [each["text"] for each in page.all("th") if each.get("scope") == "row"]
    assert ids[0] in rows
    assert ids[2] in rows
    assert not set("\u202e\x07") & set(content)


def test_no_images(audit, parse):
    assert len(parse(write_report(audit).read_text("utf-8")).all("img")) == 12
    content = write_report(audit, images=False).read_text("utf-8")
    assert "data:image" not in content
    assert not parse(content).all("img")
    assert "Pictures were left out of this page." in content


@pytest.mark.parametrize("name", [name for name in FILES if name != "rows"])
def test_a_table_that_is_not_defined_says_why(tmp_path, name):
    folder = write_sample_audit(tmp_path / "audit", without=(name,))
    assert f"no {name} were asked for" in write_report(folder).read_text("utf-8")


def test_a_quick_audit_with_nothing_but_figures_still_makes_a_page(tmp_path, parse):
    folder = write_sample_audit(tmp_path / "audit", without=tuple(FILES))
    page = parse(write_report(folder).read_text("utf-8"))
    assert not [each for each in page.all("svg") if each.get("role") == "img"]
    assert not page.all("article")
    missing = [each["text"] for each in page.all("div") if each.get("class") == "undefined"]
    assert len(missing) == 5, "one for each of four sections, one for the figures"
    assert sum(text.count("were asked for)") for text in missing) == 11


def test_figures_that_are_not_defined_show_their_reason(audit, parse):
    content = json.loads((audit / "audit.json").read_text())
    content["headline"]["time"] = None
    (audit / "audit.json").write_text(json.dumps(content))
    page = parse(write_report(audit).read_text("utf-8"))
    (line,) = [each for each in page.all("li") if "How long did it take?" in each["text"]]
    assert line["text"].endswith("(a full audit of these inputs has no such figure)")
    figures = page.by_id("figures")["text"]
    assert figures.count("gap to retrained") == figures.count("no retrained classifiers were given") == 1


def test_headings_of_the_page_say_what_it_does_not_show(audit, parse):
    page = parse(write_report(audit).read_text("utf-8"))
    limits = page.by_id("limits")["text"]
    assert "What this does not show" in limits
    assert "A suppressed answer is no proof of erasure." in limits


def test_a_folder_without_an_audit(tmp_path):
    with pytest.raises(DataError, match=r"audit\.json"):
        write_report(tmp_path)


def test_a_damaged_audit(audit):
    content = json.loads((audit / "audit.json").read_text())
    del content["verdict"]
    (audit / "audit.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="verdict"):
        write_report(audit)


def test_a_row_that_is_cut_off(audit):
    path = audit / "rows.csv"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"rows\.csv.*not as many cells in row \d+ as there are columns"):
        write_report(audit)


def test_a_table_that_is_gone(audit):
    (audit / "copies.csv").unlink()
    with pytest.raises(DataError, match=r"copies\.csv"):
        write_report(audit)


@pytest.mark.parametrize("content", ["kind\nmirrored\n", "kind,held\nmirrored,often\n"])
def test_a_table_with_something_else_in_it(audit, content):
    (audit / "copies.csv").write_text(content)
    with pytest.raises(DataError, match=r"tables as an audit writes them.*(held|often)"):
        write_report(audit)


@pytest.mark.parametrize("length", [0, 100, 1000])
def test_slices_that_are_cut_off(audit, length):
    content = (audit / "slices.npz").read_bytes()
    assert len(content) > length
    (audit / "slices.npz").write_bytes(content[:length])
    with pytest.raises(DataError, match=r"expected a whole \.npz archive"):
        write_report(audit)
    assert not (audit / "report.html").exists()


def test_a_slice_without_extent(audit):
    with np.load(audit / "slices.npz") as arrays:
        np.savez(audit / "slices.npz", **{**arrays, "extent": np.zeros((2, 4))})
    with pytest.raises(DataError, match="as an audit writes them"):
        write_report(audit)


def test_comparison_of_too_few_or_too_many(audit, tmp_path):
    for count in (1, 8):
        with pytest.raises(DataError, match="2 to 7 folders"):
            write_comparison([audit] * count, tmp_path / "compare.html")
    assert not (tmp_path / "compare.html").exists()
