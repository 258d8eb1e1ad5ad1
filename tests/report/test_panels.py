from pathlib import Path

import pytest
from sample_audit import write_sample_audit

from expunge.audit.audit_json import read_audit
from expunge.report.panels.inside import cka_panel, layers_panel, slices_panel, tsne_panel
from expunge.report.panels.outcome import OTHERS, classes_panel, copies_panel, cost_panel, pattern_panel
from expunge.report.panels.reference import reference_panel
from expunge.report.panels.traces import membership_panel, relearning_panel


@pytest.fixture
def record(audit):
    return read_audit(audit)


def replace_table(folder: Path, name: str, lines: list[str]):
    path = folder / f"{name}.csv"
    path.write_text("\n".join([path.read_text().splitlines()[0], *lines]) + "\n")
    return read_audit(folder)


def words(panel):
    return panel.drawings[0].alternative


def test_copies_worst_first(record):
    panel = copies_panel(record)
    assert "worst mirrored with 50%" in words(panel)
    assert "best mirrored+noised with 90%" in words(panel)
    assert panel.numbers.lines[0] == ("mirrored", "50%")


def test_classes_greatest_drop_first_and_on_test_images(record):
    panel = classes_panel(record)
    assert "on test images" in words(panel)
    assert "Greatest drop: truck, 3.5 points; smallest: cat, 0.5 points" in words(panel)
    assert [line[0] for line in panel.numbers.lines] == ["truck", "ship", "dog", "cat"]


def test_classes_without_test_images_or_without_rows(audit):
    record = replace_table(audit, "classes", ["retain,0,10,90,80,5", "retain,1,0,,,", "forget,0,1,100,0,100"])
    panel = classes_panel(record)
    assert "on other training images" in words(panel)
    assert [line[0] for line in panel.numbers.lines] == ["cat"]


def test_many_classes_are_cut(audit):
    lines = [f"test,{number},10,90,{number % 90},5" for number in range(100)]
    panel = classes_panel(replace_table(audit, "classes", lines))
    assert "The first 25 of 100 classes are shown." in panel.reading
    assert panel.numbers.left_out == 40


def test_pattern_counts_every_row(record):
    panel = pattern_panel(record)
    assert "Matrix of 10 forgotten images" in words(panel)
    assert "Most frequent answer: cat, 4 images" in words(panel)
    assert panel.numbers.lines[0] == ("cat", "dog", "1", "0")


def test_a_large_pattern_ends_in_all_others(audit):
    lines = [f"{number},{number + 100},1,0" for number in range(40)]
    panel = pattern_panel(replace_table(audit, "pattern", lines))
    svg = "".join(panel.drawings[0].content)
    assert svg.count(OTHERS) == 2
    assert "Matrix of 40 forgotten images" in words(panel)
    assert svg.count("<rect") == 16 * 16


def test_cost_names_the_longest_phase(record):
    assert "25.3 s in all; the longest is solve with 20.1 s" in words(cost_panel(record))


def test_membership_says_what_is_defined(audit):
    rows = ["loss,before,0,0", "loss,before,1,1", "ulira,after,0,0.5", "ulira,after,1,1"]
    panel = membership_panel(replace_table(audit, "membership", rows))
    assert [drawing.caption for drawing in panel.drawings] == [
        "loss: AUC 0.710 before",
        "U-LiRA: AUC not defined after",
    ]
    assert panel.numbers.lines[0] == ("loss", "0.710", "0.320")


def test_relearning_tells_each_course(record):
    panel = relearning_panel(record)
    assert "edited from 0% to 60% in 20 steps" in words(panel)
    assert "retrained 2 from 88% to 100%" in words(panel)
    assert [key.style for key in panel.keys] == ["before", "after", "never"]


def test_reference_sets_retrained_beside_original_and_edited(record):
    panel = reference_panel(record)
    assert panel.numbers.lines == (
        ("original", "100.0%", "91.7%"),
        ("edited", "8.3%", "91.0%"),
        ("retrained 1", "91.5%", "97.5%"),
        ("retrained 2", "not defined", "96.5%"),
    )


def test_reference_without_retrained_classifiers_says_so(audit):
    panel = reference_panel(replace_table(audit, "pools", ["shadow,0,95,97"]))
    assert panel.reason == "no classifiers that never saw the images were there to compare with"


def test_slices_come_in_pairs_and_say_what_covers_them(record):
    panel = slices_panel(record)
    assert panel.together == 2
    assert [drawing.caption for drawing in panel.drawings[:2]] == ["digit-0, before", "digit-0, after"]
    assert "A is digit-0, B is b, C is c" in words(panel)
    shares = [int(word.rstrip("%")) for word in words(panel).replace(",", "").split() if word.endswith("%")]
    assert sum(shares) == pytest.approx(100, abs=3)


def test_tsne_counts_both_kinds(record):
    assert "Map of 12 forgotten images among 80 other images, before the edit." in words(tsne_panel(record))


def test_cka_names_the_lowest_layer(record):
    assert "lowest on the forgotten images 0.690 at linear" in words(cka_panel(record))


def test_cka_that_is_not_defined_anywhere(audit):
    panel = cka_panel(replace_table(audit, "cka", ["conv1,forget,", "conv1,test,0.9"]))
    assert "none defined" in words(panel)


def test_layers_show_only_what_changed(record):
    panel = layers_panel(record)
    assert "greatest: layer2 with 3%" in words(panel)
    assert [line[0] for line in panel.numbers.lines] == ["layer1", "layer2", "linear"]
    assert panel.numbers.lines[2][3] == "not defined"


def test_layers_of_an_unedited_classifier(audit):
    panel = layers_panel(replace_table(audit, "layers", ["conv1,100,0,0,0"]))
    assert panel.reason == "no weight changed"


def test_panels_of_one_row(tmp_path):
    record = read_audit(write_sample_audit(tmp_path / "one", ids=["only"]))
    panels = [make(record) for make in (pattern_panel, slices_panel, tsne_panel)]
    assert all(panel.drawings for panel in panels)
