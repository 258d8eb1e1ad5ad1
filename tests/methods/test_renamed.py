"""Old names of settings and of a method are read for one release, with a warning that says the new one."""

import pytest

from expunge.base.errors import ExpungeWarning
from expunge.methods import METHODS
from expunge.methods.published.relabel_only import RelabelOnly
from expunge.methods.unlearn import make_method


def test_old_names_of_settings_are_read_with_a_warning():
    with pytest.warns(ExpungeWarning) as caught:
        old = make_method(
            "least-change", {"probes": {"mixes": 5}, "exact": {"probe_batch": 7}, "robust": {"joined": 0.1}}
        )
    said = {str(each.message).split(";")[0] for each in caught}
    assert said == {
        "`settings.probes` is called `settings.surrogates` now",
        "`settings.exact.probe_batch` is called `settings.exact.surrogate_batch` now",
        "`settings.robust.joined` is called `settings.robust.spliced` now",
    }
    new = {"surrogates": {"mixes": 5}, "exact": {"surrogate_batch": 7}, "robust": {"spliced": 0.1}}
    assert old == make_method("least-change", new)


def test_the_old_name_of_a_method_is_understood_with_a_warning_and_not_listed():
    with pytest.warns(ExpungeWarning, match="the method correct is called relabel-only now"):
        assert METHODS["correct"] is RelabelOnly
    assert "correct" in METHODS
    assert "correct" not in list(METHODS)
