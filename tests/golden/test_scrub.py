"""SCRUB against its authors' code: a step that raises the divergence, then two that lower it with the cross-entropy."""

from golden_net import assert_same_change, make_classifier, make_forget_set, make_retain, read_golden

from expunge.methods.unlearn import make_method, unlearn


def test_three_steps_are_the_authors():
    golden = read_golden("scrub")
    edit = unlearn(
        make_classifier(), make_forget_set(), method=make_method("scrub", golden["settings"]), retain=make_retain()
    )
    assert_same_change(edit.classifier, golden)
