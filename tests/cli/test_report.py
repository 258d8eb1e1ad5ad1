import pytest
from sample_audit import write_sample_audit


def test_report_makes_the_page_again(expunge, tmp_path):
    folder = write_sample_audit(tmp_path / "audit")
    done = expunge("report", str(folder))
    assert done.code == 0
    assert str(folder / "report.html") in done.out
    assert "data:image" in (folder / "report.html").read_text("utf-8")


def test_report_without_images_somewhere_else(expunge, tmp_path):
    folder = write_sample_audit(tmp_path / "audit")
    done = expunge("report", str(folder), "--no-images", "-o", str(tmp_path / "page.html"))
    assert done.code == 0
    assert "data:image" not in (tmp_path / "page.html").read_text("utf-8")
    assert not (folder / "report.html").exists()


def test_report_and_compare_take_the_folder_of_a_run(expunge, tmp_path):
    for name in ("one", "two"):
        write_sample_audit(tmp_path / name / "audit", method=name)
    done = expunge("report", str(tmp_path / "one"))
    assert done.code == 0
    assert (tmp_path / "one" / "audit" / "report.html").exists()
    done = expunge("compare", str(tmp_path / "one"), str(tmp_path / "two"), "-o", str(tmp_path / "compare.html"))
    assert done.code == 0


def test_report_of_a_folder_without_an_audit(expunge, tmp_path):
    done = expunge("report", str(tmp_path))
    assert done.code == 2
    assert "audit.json" in done.err


def test_report_where_nothing_can_be_written(expunge, tmp_path):
    folder = write_sample_audit(tmp_path / "audit")
    (tmp_path / "taken").write_text("a file")
    done = expunge("report", str(folder), "-o", str(tmp_path / "taken" / "page.html"))
    assert done.code == 2
    assert "a folder that can be made and written to" in done.err


def test_compare_sets_audits_side_by_side(expunge, tmp_path):
    folders = [str(write_sample_audit(tmp_path / name, method=name)) for name in ("least-change", "l2ul")]
    done = expunge("compare", *folders, "-o", str(tmp_path / "compare.html"))
    assert done.code == 0
    content = (tmp_path / "compare.html").read_text("utf-8")
    assert "2 edits, side by side" in content
    assert "data:image" not in content


def test_compare_needs_two(expunge, tmp_path):
    folder = write_sample_audit(tmp_path / "audit")
    done = expunge("compare", str(folder), "-o", str(tmp_path / "compare.html"))
    assert done.code == 2
    assert "2 to 7 folders" in done.err


def test_compare_under_names_of_ones_own(expunge, tmp_path):
    folders = [str(write_sample_audit(tmp_path / name, method="l2ul")) for name in ("one", "two")]
    page = tmp_path / "compare.html"
    done = expunge("compare", *folders, "--name", "ADV", "--name", "ADV + <IMP>", "-o", str(page))
    assert done.code == 0
    assert "ADV + &lt;IMP&gt;" in page.read_text("utf-8")
    done = expunge("compare", *folders, "--name", "ADV", "-o", str(page))
    assert done.code == 2
    assert "a name of its own for each of 2 folders" in done.err


def test_drawings_for_a_document(expunge, tmp_path):
    folders = [str(write_sample_audit(tmp_path / name, method=name)) for name in ("least-change", "l2ul")]
    done = expunge("report", folders[0], "--drawings", str(tmp_path / "one"))
    assert done.code == 0
    assert f"wrote {len(list((tmp_path / 'one').glob('*.svg')))} drawings" in done.out
    assert not (tmp_path / "least-change" / "report.html").exists()
    done = expunge("compare", *folders, "--drawings", str(tmp_path / "both"))
    assert done.code == 0
    assert (tmp_path / "both" / "copies.svg").exists()


def test_recompute_of_an_audit_without_its_evidence(expunge, tmp_path):
    folder = write_sample_audit(tmp_path / "audit")
    done = expunge("report", str(folder), "--recompute")
    assert done.code == 2
    assert "gathered.json" in done.err
    assert not (folder / "report.html").exists()


def test_a_pdf_where_there_is_no_browser(expunge, tmp_path, monkeypatch):
    folder = write_sample_audit(tmp_path / "audit")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("EXPUNGE_CHROMIUM", raising=False)
    done = expunge("report", str(folder), "--pdf")
    assert done.code == 2
    assert "`--pdf`: expected a Chromium that prints the page, got none; install Chromium" in done.err
    assert not list(folder.glob("report.*"))


@pytest.mark.parametrize(
    ("script", "words"), [("exit 3", "exit code 3: nothing"), ("echo no display >&2", "exit code 0: no display")]
)
def test_a_pdf_by_a_browser_that_prints_nothing(expunge, tmp_path, monkeypatch, script, words):
    folder, browser = write_sample_audit(tmp_path / "audit"), tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\n{script}\n")
    browser.chmod(0o755)
    monkeypatch.setenv("EXPUNGE_CHROMIUM", str(browser))
    done = expunge("report", str(folder), "--pdf")
    assert done.code == 2
    assert words in done.err
    assert not list(folder.glob("*.pdf"))
