"""AMUN against the authors' own search and their own loop: two epochs of two batches, in the same order."""

import pytest
from golden_draws import as_in, replay_batches
from golden_net import assert_same_change, make_classifier, make_forget_set, make_retain, read_golden

from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.published.amun import Amun, AmunRetain, NearestSearch, find_examples
from expunge.methods.unlearn import unlearn
from expunge.surrogates.attack import l2_norms
from expunge.task.task import Task
from expunge.training import trainer

ROWS, RETAIN = 8, 24


def rows_then_retain(number):
    """Return where an image of the authors' joined set - retain data, rows, examples - is in ours."""
    if number < RETAIN:
        return number + ROWS
    return number - RETAIN if number < RETAIN + ROWS else number


def test_the_examples_are_the_authors():
    golden, rows = read_golden("amun")["nearest"], make_forget_set()
    examples = find_examples(Task.create(make_classifier(), rows), NearestSearch(), Context(Runtime()))
    assert examples.labels.tolist() == golden["labels"]
    assert l2_norms(examples.pixels - rows.x).flatten().tolist() == pytest.approx(golden["distances"], rel=1e-3)


@pytest.mark.parametrize("kind", [Amun, AmunRetain])
def test_the_epochs_are_the_authors(monkeypatch, kind):
    golden = read_golden(kind.name)
    passes = golden["draws"]["batches"]
    if kind is AmunRetain:
        passes = [[[rows_then_retain(number) for number in batch] for batch in batches] for batches in passes]
    monkeypatch.setattr(trainer, "draw_batches", replay_batches(passes))
    method = kind(training=as_in(golden, kind().training))
    edit = unlearn(make_classifier(), make_forget_set(), method=method, retain=make_retain())
    assert golden["settings"]["learning_rate"] == kind().training.learning_rate
    assert_same_change(edit.classifier, golden)
