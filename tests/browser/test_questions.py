"""The ten questions of a colleague in data protection, asked of the page of a good, a failed and a ruinous edit."""

import re

import pytest
from sample_audit import write_sample_audit

from expunge.report import write_report

pytestmark = pytest.mark.browser

QUESTIONS = {
    "What was asked?": {"": "forget 12 pictures: give each another answer than the one it had learned"},
    "When was it done?": {"": "5 March 2026, 14:07 UTC"},
    "Under which reference?": {"": "letter 17"},
    "With which program?": {"": "expunge 0.1, method least-change"},
    "Was it done?": {
        "good": "Yes, all 12 pictures have another answer",
        "failed": "No, only 11 of 12 pictures have another answer",
        "ruined": "No, the classifier is ruined",
    },
    "Does it hold for changed copies?": {
        "good": "For 98.4 of 100 copies",
        "failed": "For 71.2 of 100 copies",
        "ruined": "That says nothing now",
    },
    "What did it cost everyone else?": {
        "good": "From 91.7 to 91.4 of 100 pictures right",
        "failed": "From 91.7 to 91.0 of 100 pictures right",
        "ruined": "From 91.7 to 26.1 of 100 pictures right",
    },
    "Can an outsider pick the pictures out?": {
        "good": "In 53.0 of 100 tries; by chance it would be 50.0",
        "failed": "In 68.0 of 100 tries; by chance it would be 50.0",
        "ruined": "In 99.9 of 100 tries; by chance it would be 50.0",
    },
    "Can the person be told that it is deleted?": {
        "good": "Yes, in these words",
        "failed": "No: 1 of 12 pictures still gets the answer that was to be forgotten.",
        "ruined": "No: the edited classifier gives too many wrong answers to be used.",
    },
    "What remains to be done?": {
        "good": "Put the edited classifier in place of the old one.",
        "failed": "Repeat the edit",
        "ruined": "Do not use the edited classifier.",
    },
}
"""For each question the answer by outcome, or under an empty name the one that all have."""

TITLES = {
    "good": ("Done", "The 12 pictures are forgotten"),
    "failed": ("Not done", "1 of 12 pictures is not forgotten"),
    "ruined": ("Ruined", "The edited classifier is ruined"),
}
COLOURS = {"good": "good", "failed": "bad", "ruined": "bad"}
ANSWER_TO = """heading => {
    const [term, block] = [heading.closest("dt"), heading.closest(".answer")];
    return term ? term.nextElementSibling.innerText : [...block.children].slice(1).map((e) => e.innerText).join(" ");
}"""


@pytest.fixture(scope="module", params=["good", "failed", "ruined"])
def page_of(request, tmp_path_factory):
    """Return an outcome and the page of an audit with it."""
    folder = tmp_path_factory.mktemp(request.param) / "audit"
    return request.param, write_report(write_sample_audit(folder, outcome=request.param))


@pytest.mark.parametrize("width", [390, 1280])
def test_each_question_has_one_answer_in_sight(open_page, page_of, width):
    outcome, file = page_of
    page = open_page(file, width=width)
    text = page.locator("body").inner_text()
    for question, answers in QUESTIONS.items():
        asked = page.locator("dt, h1, h2, h3, h4").filter(has_text=re.compile(f"^{re.escape(question)}$"))
        assert asked.count() == 1
        assert asked.is_visible()
        wanted = answers.get(outcome, answers.get(""))
        assert wanted in asked.evaluate(ANSWER_TO)
        assert text.count(wanted) == 1, "the answer stands nowhere else"
        others = set(answers.values()) - {wanted}
        assert not [other for other in others if other in text], "nor does that of another outcome"


def test_the_outcome_is_said_in_words_and_in_colour(open_page, page_of):
    outcome, file = page_of
    page = open_page(file)
    assert tuple(page.locator(".outcome > *").all_inner_texts()) == TITLES[outcome]
    assert page.locator("h1").inner_text() == TITLES[outcome][1]
    colours = {
        name: page.evaluate(
            """name => {
                const probe = document.createElement("i");
                probe.className = name;
                document.body.append(probe);
                return getComputedStyle(probe).getPropertyValue("--own");
            }""",
            name,
        )
        for name in ("good", "partly", "bad")
    }
    assert len(set(colours.values())) == 3
    own = page.locator(".outcome").evaluate("each => getComputedStyle(each).getPropertyValue('--own')")
    assert own == colours[COLOURS[outcome]]


def test_what_the_person_can_be_told_is_four_sentences(open_page, page_of):
    told = open_page(page_of[1]).locator(".told .answer").first.locator("p").inner_text()
    assert len(re.findall(r"[.](?: |$)", told)) == 4
    assert "It does not mean that the pictures are gone" in told
    assert "It does not prove" in told


def test_every_figure_stands_under_a_question(open_page, page_of):
    page = open_page(page_of[1])
    titles = page.locator("article h3, .card h3, #figures h3").all_inner_texts()
    assert len(titles) > 15
    assert [title for title in titles if "?" not in title] == []
