import json

import pytest

from expunge.compute.runtime import SILENT
from expunge.jobs.demo import load_digit_images, run_demo, train_digit_classifier
from expunge.task.evaluation import predict


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    edit, result = run_demo(out, method="l2ul", seed=0, progress=SILENT)
    return out, edit, result


def test_digit_classifier_is_over_97_percent_right_on_unseen_digits(demo):
    _, _, result = demo
    assert result["before"]["test"]["accuracy"] > 97


def test_demo_forgets_its_sixteen_digits(demo):
    out, edit, result = demo
    assert edit.goal_achieved == 1.0
    changed = {"churn": 100.0, "right_kept": 0.0, "wrong_righted": None}
    assert result["after"]["forget"] == {"accuracy": 0.0, "n": 16, **changed}
    assert result["after"]["test"]["accuracy"] > 90
    assert json.loads((out / "result.json").read_text()) == result


def test_training_with_the_same_seed_gives_the_same_classifier():
    images = load_digit_images().train
    small = type(images)(images.ids[:64], images.labels[:64], images.pixels[:64])
    first, second = (train_digit_classifier(small, seed=1, progress=SILENT) for _ in range(2))
    assert first.sha256() == second.sha256()
    assert predict(first, small).accuracy == predict(second, small).accuracy
