"""Whether a new version is still good for anything: what `expunge run` looks at, compared with the first classifier."""

from expunge.compute.sharing import Sharing
from expunge.models.classifier import Classifier
from expunge.requests.drift import Compared
from expunge.surrogates.held_out import draw_held_out
from expunge.task.expected import measure_expected_cost
from expunge.task.outcome import SURROGATES, Health
from expunge.task.task import Task
from expunge.task.words import MISCLASSIFY, part_words

TEST = "test"
HINT = (
    "withdraw it and add it again with another method or fewer images; or retrain: `expunge requests plan` says what "
    "that needs"
)


def find_health(compared: Compared, first: Classifier, edited: Classifier, task: Task, at_once: Sharing) -> Health:
    """Return the health of an edited classifier: on test images where there are any, else on surrogates.

    Many small edits can ruin a classifier as one large edit does, so it is compared with the first.

    Args:
        compared: the answers of both to test images, if there are any.
        first: the first classifier.
        edited: the edited one.
        task: of the edit, whose surrogates are drawn as `expunge run` draws them.
        at_once: images in one pass.
    """
    if compared.on_test:
        before, after = compared.before, compared.after
        answers = before.predicted.numpy(), after.predicted.numpy()
        return Health.of(TEST, *answers, classes=first.num_classes, labels=before.labels.numpy())
    health = measure_expected_cost(first, edited, draw_held_out(task), at_once).health
    assert health is not None  # noqa: S101 - results of old have none, what is measured now has
    return health


def say_ruined(health: Health) -> str:
    """Return why an edit is not taken, for a classifier that is ruined."""
    where = SURROGATES if health.measured_on == SURROGATES else part_words(health.measured_on, MISCLASSIFY)
    return f"the edit ruins the classifier: on {health.images:,} {where}, {' and '.join(health.reasons())}"
