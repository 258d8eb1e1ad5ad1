"""The pages in a real browser: nothing goes wrong in them, nothing is loaded, people can read and use them."""

from itertools import pairwise
from pathlib import Path

import pytest
from sample_audit import HOSTILE, write_sample_audit

from expunge.report import write_comparison, write_pdf, write_report

pytestmark = pytest.mark.browser

WIDTHS = (320, 768, 1920)
CONTRAST = 4.5
MEASURE_CONTRAST = Path(__file__).with_name("contrast.js").read_text("utf-8")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_report(write_sample_audit(tmp_path_factory.mktemp("report") / "audit"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "audit"
    ids = [f"{text}{number}" for number, text in enumerate(HOSTILE)]
    return write_report(write_sample_audit(folder, ids=ids, classes=HOSTILE, method=HOSTILE[0]))


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    sides = [write_sample_audit(folder / name, method=name) for name in ("least-change", "l2ul", HOSTILE[0])[:2]]
    sides.append(write_sample_audit(folder / "odd", method=HOSTILE[0], without=("relearning", "copies")))
    return write_comparison(sides, folder / "compare.html")


@pytest.fixture(params=["report", "hostile", "comparison"])
def any_page(request):
    return request.getfixturevalue(request.param)


def shown_ids(page):
    return page.locator("#rows tbody tr:visible th").all_inner_texts()


def test_nothing_goes_wrong_and_nothing_is_loaded(open_page, any_page):
    page = open_page(any_page)
    summaries = page.locator("summary")
    summaries.evaluate_all("all => all.forEach((each) => each.click())")
    assert page.locator("details[open]").count() == summaries.count() > 0
    page.wait_for_timeout(50)
    assert page.trouble == []


def test_a_script_that_got_in_would_not_run(open_page, report, tmp_path):
    altered = tmp_path / "altered.html"
    altered.write_text(report.read_text("utf-8").replace("<h1", "<script>document.title='run'</script><h1", 1), "utf-8")
    page = open_page(altered)
    assert "run" not in page.title()
    assert any("Content Security Policy" in trouble for trouble in page.trouble)


def test_every_figure_has_a_text_alternative(open_page, any_page):
    page = open_page(any_page)
    figures = page.locator("figure svg, svg.drawing")
    assert figures.count() > 5
    assert page.get_by_role("img").count() == figures.count() + page.locator("img").count()
    for figure in figures.all():
        snapshot = figure.aria_snapshot()
        assert len(snapshot.removeprefix("- img")) > 30, snapshot
    pictures = page.locator("img")
    assert all(picture.get_attribute("alt") for picture in pictures.all())


@pytest.mark.parametrize("width", WIDTHS)
def test_no_width_needs_sideways_scrolling(open_page, any_page, width):
    page = open_page(any_page, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """() => [...document.querySelectorAll("main *")].filter((each) => !each.closest(".scroll, pre, .hidden, svg")
            && each.getBoundingClientRect().right > innerWidth + 1).map((each) => each.outerHTML.slice(0, 80))"""
    )
    assert outside == []


def test_the_first_screen_holds_the_outcome_and_every_answer(open_page, report):
    page = open_page(report)
    bottoms = page.evaluate(
        "[...document.querySelectorAll('.outcome, .facts, .answer')].map(e => e.getBoundingClientRect().bottom)"
    )
    assert len(bottoms) == 8
    assert max(bottoms) <= 900


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(open_page, report, comparison, scheme):
    for file in (report, comparison):
        page = open_page(file, color_scheme=scheme)
        weak = [(text, round(ratio, 2)) for text, ratio in page.evaluate(MEASURE_CONTRAST) if ratio < CONTRAST]
        assert weak == []


def test_dark_and_light_differ(open_page, report):
    backgrounds = {
        scheme: open_page(report, color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert backgrounds["light"] != backgrounds["dark"]


def test_print_is_light_and_leaves_the_controls_out(open_page, report):
    page = open_page(report, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    assert not page.locator(".controls").is_visible()
    assert page.locator(".card").first.is_visible()
    assert page.locator(".answer").first.is_visible()


def test_the_table_sorts_by_number_both_ways(open_page, report):
    page = open_page(report)
    heading = page.locator("#rows thead th", has_text="margin")
    button = heading.get_by_role("button")
    button.focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert shown_ids(page)[:2] == ["digit-0", "digit-1"]
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert shown_ids(page)[:2] == ["digit-11", "digit-10"]
    assert page.locator("#rows [aria-sort]").count() == 1


def test_the_table_sorts_names_as_people_do(open_page, report):
    page = open_page(report)
    page.locator("#rows thead button", has_text="image").click()
    assert shown_ids(page) == [f"digit-{number}" for number in range(12)]


def test_the_table_filters(open_page, report):
    page = open_page(report)
    status = page.get_by_role("status")
    assert status.inner_text() == "12 of 12 shown"
    page.get_by_role("searchbox").fill("DIGIT-1")
    assert shown_ids(page) == ["digit-1", "digit-10", "digit-11"]
    assert status.inner_text() == "3 of 12 shown"
    page.get_by_role("searchbox").fill("")
    page.get_by_role("combobox").select_option("no")
    assert shown_ids(page) == ["digit-0"]


def test_without_script_every_row_is_there(open_page, report):
    page = open_page(report, java_script_enabled=False)
    assert len(shown_ids(page)) == 12
    assert not page.locator(".controls").is_visible()


def test_the_keyboard_reaches_everything(open_page, report):
    page = open_page(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.outerHTML.slice(0, 200)"))
    wanted = page.evaluate(
        """[...document.querySelectorAll("main summary, main button, main input, main select, main .scroll")]
            .filter((each) => each.checkVisibility()).map((each) => each.outerHTML.slice(0, 200))"""
    )
    assert set(wanted) <= reached


def test_landmarks_and_headings_are_in_order(open_page, any_page):
    page = open_page(any_page)
    for role in ("navigation", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1
    levels = [int(name[1]) for name in page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(e => e.tagName)")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_hostile_text_is_shown_as_text(open_page, hostile):
    page = open_page(hostile)
    texts = "\n".join(shown_ids(page))
    for text in HOSTILE[:3]:
        assert text in texts
    assert page.locator("main script, main b, main style, main a[href^=javascript]").count() == 0
    assert "\u202e" not in page.content()
    assert page.trouble == []


def test_the_page_as_a_pdf(report, tmp_path, browser):
    printed = write_pdf(report, tmp_path / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF-")
    assert len(printed) > 20_000
