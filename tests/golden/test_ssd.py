"""SSD against the authors' own edit, the rows and all data in batches of five."""

from golden_net import assert_same_change, make_classifier, make_forget_set, make_retain, read_golden

from expunge.methods.published.ssd import SSD
from expunge.methods.unlearn import unlearn


def test_the_edit_is_the_authors():
    golden = read_golden("ssd")
    edit = unlearn(make_classifier(), make_forget_set(), method=SSD(**golden["settings"]), retain=make_retain())
    assert_same_change(edit.classifier, golden)
