"""Influence unlearning against the authors' own step."""

from golden_net import assert_same_change, make_classifier, make_forget_set, make_retain, read_golden

from expunge.methods.published.influence import Influence
from expunge.methods.unlearn import unlearn
from expunge.training import Augmentation


def test_the_step_is_the_authors():
    golden = read_golden("influence")
    method = Influence(scale=golden["settings"]["alpha"], augmentation=Augmentation.NONE)
    assert method.rows == golden["settings"]["N"]
    edit = unlearn(make_classifier(), make_forget_set(), method=method, retain=make_retain())
    assert_same_change(edit.classifier, golden)
