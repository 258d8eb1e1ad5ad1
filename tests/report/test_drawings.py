from xml.etree import ElementTree

import pytest
from sample_audit import HOSTILE, write_sample_audit

from expunge.base.errors import OutputError
from expunge.report import write_comparison_drawings, write_report_drawings

SVG = "{http://www.w3.org/2000/svg}"


def texts(root):
    return ["".join(each.itertext()) for each in root.iter(f"{SVG}text")]


def test_every_drawing_is_a_whole_svg_document(audit, tmp_path):
    files = write_report_drawings(audit, tmp_path / "drawings")
    assert sorted(tmp_path.joinpath("drawings").iterdir()) == sorted(files)
    assert {"copies.svg", "slices-1.svg", "slices-2.svg", "tsne.svg", "reference.svg"} <= {path.name for path in files}
    for path in files:
        root = ElementTree.parse(path).getroot()  # noqa: S314 - our own file
        assert root.tag == f"{SVG}svg"
        assert root.get("role") == "img"
        assert len(root.find(f"{SVG}desc").text) > 20
        assert "prefers-color-scheme" in root.find(f"{SVG}style").text
        assert not list(root.iter(f"{SVG}image"))


def test_the_legend_is_inside(audit, tmp_path):
    write_report_drawings(audit, tmp_path)
    root = ElementTree.parse(tmp_path / "relearning.svg").getroot()  # noqa: S314 - our own file
    assert texts(root)[:3] == ["original", "edited", "retrained without the images"]


def test_a_long_legend_takes_several_rows_inside_the_drawing(tmp_path):
    classes = [f"a class with a long name {number}" for number in range(4)]
    write_report_drawings(write_sample_audit(tmp_path / "audit", classes=classes), tmp_path)
    root = ElementTree.parse(tmp_path / "slices-1.svg").getroot()  # noqa: S314 - our own file
    places = {float(each.get("y")) for each in root.iter(f"{SVG}text") if each.get("class") == "label"}
    assert len(places) == 2  # two drawings wide


def test_what_belongs_together_stands_side_by_side(audit, tmp_path):
    write_report_drawings(audit, tmp_path)
    root = ElementTree.parse(tmp_path / "tsne.svg").getroot()  # noqa: S314 - our own file
    headings = [each for each in root.iter(f"{SVG}text") if each.get("class") == "heading"]
    assert ["".join(each.itertext()) for each in headings] == ["before the edit", "after the edit"]
    assert headings[0].get("y") == headings[1].get("y")
    assert float(headings[1].get("x")) > 400
    assert root.find(f"{SVG}desc").text.count("Map of") == 2


def test_hostile_names_leave_well_formed_documents(tmp_path):
    ids = [f"{text}{number}" for number, text in enumerate(HOSTILE)]
    folder = write_sample_audit(tmp_path / "audit", ids=ids, classes=HOSTILE)
    for path in write_report_drawings(folder, tmp_path / "drawings"):
        root = ElementTree.parse(path).getroot()  # noqa: S314 - our own file
        assert {each.tag.removeprefix(SVG) for each in root.iter()} <= {
            *("svg", "style", "title", "desc", "g", "rect", "circle", "path", "line", "text")
        }


def test_drawings_of_a_comparison(tmp_path):
    folders = [write_sample_audit(tmp_path / name, method=name) for name in ("least-change", "l2ul")]
    files = write_comparison_drawings(folders, tmp_path / "drawings")
    assert {"copies.svg", "classes.svg", "membership-2.svg", "time.svg"} <= {path.name for path in files}


def test_a_place_that_is_a_file(audit, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken"):
        write_report_drawings(audit, tmp_path / "taken")
