from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.report.drawing.charts import Axis, Bar, Curve, Dots, draw_bars, draw_curves, draw_dots
from expunge.report.drawing.maps import SIDE, Place, Point, draw_class_map, draw_matrix, draw_scatter
from expunge.report.drawing.svg import Scale, draw_named, element, fit_range, label, mark

FINITE = st.floats(-1e6, 1e6)


def tree(drawing):
    return ElementTree.fromstring(draw_named(drawing, "name", "title"))  # noqa: S314 - our own text


def classes(root, tag):
    return [each.get("class") for each in root.iter(tag)]


def test_elements_escape_text_and_values():
    drawn = element("text", {"class": '"><b>'}, "<script>&")
    assert drawn == '<text class="&#34;&gt;&lt;b&gt;">&lt;script&gt;&amp;</text>'


def test_long_labels_are_cut_and_whole_in_the_tooltip():
    drawn = label(0, 0, "abcdefghij" * 5)
    assert "<title>" + "abcdefghij" * 5 + "</title>" in drawn
    assert "abcdefghij…" in drawn


def test_an_unknown_shape_is_never_drawn_as_another():
    shapes = {shape: mark(5, 5, "after", shape) for shape in ("circle", "square", "diamond")}
    assert len(set(shapes.values())) == 3


@given(FINITE, st.floats(1e-3, 1e6), FINITE)
def test_scale_is_monotone_and_stays_inside(low, span, value):
    scale = Scale(low, low + span, 10, 90)
    assert 10 <= scale(value) <= 90
    assert scale(low) == 10
    assert scale(low + span) == pytest.approx(90)
    assert scale(value) <= scale(value + span / 2)


@given(FINITE, st.floats(1e-2, 1e6))
def test_ticks_are_few_round_and_inside(low, span):
    ticks = Scale(low, low + span, 0, 1).ticks()
    assert 2 <= len(ticks) <= 8
    assert list(ticks) == sorted(set(ticks))
    assert all(low - span / 1e3 <= tick <= low + span * 1.001 for tick in ticks)


def test_ranges_are_never_empty():
    assert fit_range([]) == (0, 1)
    assert fit_range([3.0, 3.0]) == (3, 4)
    assert fit_range([3.0, float("nan"), 5.0], low=0) == (0, 5)


def test_bars_are_as_long_as_their_values():
    root = tree(draw_bars([Bar("a", 10, "10"), Bar("b", 40, "40"), Bar("none", 0, "0")], Axis("x", 0), "words"))
    a, b, none = (float(each.get("width")) for each in root.iter("rect"))
    assert b == pytest.approx(4 * a, abs=0.2)
    assert 0 < none < 1


def test_bars_below_zero_start_left_of_it():
    root = tree(draw_bars([Bar("gain", -5, "-5"), Bar("loss", 5, "5")], Axis("x"), "words"))
    gain, loss = root.iter("rect")
    assert float(gain.get("x")) + float(gain.get("width")) == pytest.approx(float(loss.get("x")), abs=0.2)


def test_dots_leave_out_what_is_not_defined():
    root = tree(draw_dots(["a", "b"], [Dots((1.0, None), "before"), Dots((3.0, None), "after")], Axis("x"), "words"))
    assert classes(root, "circle") == ["mark before", "mark after"]
    assert any(each.text == "not defined" for each in root.iter("text"))


def test_curves_go_up_where_values_do():
    root = tree(draw_curves([Curve(((0, 0), (1, 1)), "after")], Axis("x"), Axis("y"), "words"))
    (path,) = root.iter("path")
    (_, y0), (_, y1) = (map(float, point.split()) for point in path.get("d")[1:].split("L"))
    assert y1 < y0


def test_a_matrix_shows_each_count_darker_where_there_are_more():
    root = tree(draw_matrix({("cat", "dog"): 1, ("dog", "cat"): 6}, ["cat", "dog"], ["cat", "dog"], "words"))
    cells = classes(root, "rect")
    assert cells == ["cell shade0", "cell shade1", "cell shade6", "cell shade0"]
    assert [each.text for each in root.iter("text") if "count" in each.get("class")] == ["1", "6"]


def test_a_scatter_puts_high_values_at_the_top():
    points = [Point(0, 0, "c0"), Point(0, 1, "c0"), Point(1, 1, "c1")]
    root = tree(draw_scatter(points, [Place(1, 0, "tip <b>")], [Place(0.5, 0.5, "cat")], "words", "before"))
    dots = {each.get("class"): each.get("d") for each in root.iter("path") if "dots" in each.get("class")}
    assert dots == {"dots c0": "M10.0 430.0h0M10.0 10.0h0", "dots c1": "M430.0 10.0h0"}
    (diamond,) = [each for each in root.iter("path") if "mark forgotten" in each.get("class")]
    assert diamond.get("d").startswith("M430 ")
    assert "tip <b>" in [each.text for each in root.iter("title")]


def test_a_class_map_covers_its_square_and_starts_at_the_bottom():
    grid = np.array([[0, 0], [1, 2]])
    root = tree(draw_class_map(grid, {0: "c0", 1: "c1", 2: "c2"}, [Place(0, 0, "A")], "words", "before"))
    areas = {each.get("class"): each.get("d") for each in root.iter("path") if "area" in each.get("class")}
    half = SIDE / 2
    assert areas["area c0"] == f"M0.0 {half}h{SIDE}v{half}h-{SIDE}z"
    assert areas["area c1"] == f"M0.0 0.0h{half}v{half}h-{half}z"
    assert areas["area c2"] == f"M{half} 0.0h{half}v{half}h-{half}z"
