"""The public names, so that none comes or goes unnoticed. Change the list here when one does on purpose."""

import importlib.metadata
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import expunge

PUBLIC = [
    "Attack",
    "Bounds",
    "Classifier",
    "Edit",
    "ExpungeError",
    "ExpungeWarning",
    "ForgetSet",
    "Interrupted",
    "Limits",
    "METHODS",
    "Misclassify",
    "Relabel",
    "Runtime",
    "StopReason",
    "Strength",
    "audit_edit",
    "make_method",
    "unlearn",
]

EXTENSIONS = {
    "expunge.audit.audit_json": ["read_audit"],
    "expunge.audit.collect.collected": ["Gathered"],
    "expunge.audit.figures.definition": ["Definition", "Judged", "WORDS"],
    "expunge.audit.metrics.estimate": ["Estimate", "NotDefinedError"],
    "expunge.audit.record": ["Audit", "Direction", "Figure"],
    "expunge.audit.store.archive": ["read_gathered"],
    "expunge.base.errors": ["ClassifierError", "DataError", "ForgetSetError", "SettingsError", "package_needed"],
    "expunge.base.settings": ["check_settings", "setting"],
    "expunge.compute.context": ["Context"],
    "expunge.compute.runtime": ["Runtime"],
    "expunge.data.images": ["Images", "Subset", "TensorImages"],
    "expunge.data.preprocessing": ["Interpolation", "Preprocessing"],
    "expunge.data.sources.splits": ["DataRequest", "DataSplits"],
    "expunge.methods.descent": ["Descent"],
    "expunge.methods.engine": ["edit_until_goal"],
    "expunge.methods.protocol": ["Aim", "Method", "Needs"],
    "expunge.methods.published.epochs": ["train"],
    "expunge.methods.published.plain": ["push_rows"],
    "expunge.models.classifier": ["Normalisation"],
    "expunge.models.sources.source": ["Architecture", "FoundModel", "ModelSource"],
    "expunge.models.sources.weights": ["fill", "last_length", "read_weights"],
    "expunge.task.edit": ["Edit"],
    "expunge.task.evaluation": ["compute_logits"],
    "expunge.task.goals": ["Goal", "Misclassify", "Relabel"],
    "expunge.task.task": ["Strength", "Task"],
    "expunge.training": ["Trainer", "Training"],
}
"""Names for extensions by module, as docs/extending.md declares them; all others are private."""

METHOD_NAMES = [
    "amun",
    "amun-retain",
    "bad-teacher",
    "boundary-shrink",
    "delete",
    "fine-tune",
    "imu",
    "influence",
    "jit",
    "l1-sparse",
    "l2ul",
    "l2ul-faithful",
    "least-change",
    "mu-mis",
    "negative-gradient",
    "neggrad-plus",
    "oracle",
    "random-label",
    "relabel-only",
    "retrain",
    "ruago",
    "salun",
    "scrub",
    "ssd",
    "structguard",
    "zs-pag",
]

UNLEARN = [
    "model",
    "forget",
    "indices",
    "new_labels",
    "goal",
    "method",
    "seed",
    "limits",
    "max_steps",
    "max_seconds",
    "runtime",
    "device",
    "batch_size",
    "progress",
    "minimum_right",
    "strength",
    "retain",
    "transforms",
    "earlier",
    "settings",
]


def test_public_names():
    assert sorted(expunge.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(expunge))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(expunge, name).__doc__


def test_names_for_extensions():
    text = (Path(__file__).parents[2] / "docs" / "extending.md").read_text("utf-8")
    lines = re.findall(r"^\| `(expunge[\w.]*)` \| (.*) \|$", text, re.MULTILINE)
    assert {module: re.findall(r"`(\w+)`", names) for module, names in lines} == EXTENSIONS


def test_methods():
    assert sorted(expunge.METHODS) == METHOD_NAMES


def test_the_signature_of_the_main_call():
    parameters = inspect.signature(expunge.unlearn).parameters
    assert list(parameters) == UNLEARN
    assert all(each.kind is each.KEYWORD_ONLY for each in list(parameters.values())[2:-1])


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="forget_everything"):
        expunge.forget_everything  # noqa: B018


def test_the_version_is_that_of_the_package():
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z]+\d+)?", expunge.__version__)
    try:
        assert importlib.metadata.version("expunge") == expunge.__version__
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package is not installed")


def test_importing_the_package_is_quick_since_torch_waits():
    code = "import sys, expunge; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
