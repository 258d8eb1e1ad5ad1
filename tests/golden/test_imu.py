"""IMU against its authors' code: three steps with the same numbers."""

from golden_net import assert_same_change, make_classifier, make_forget_set, read_golden

from expunge.methods.published.imu import IMU
from expunge.methods.unlearn import unlearn
from expunge.training import Augmentation, Training


def test_three_steps_are_the_authors():
    golden = read_golden("imu")
    training = Training(epochs=golden["steps"], batch_size=256, augmentation=Augmentation.NONE)
    edit = unlearn(make_classifier(), make_forget_set(), method=IMU(training=training))
    assert edit.steps == golden["steps"]
    assert_same_change(edit.classifier, golden)
