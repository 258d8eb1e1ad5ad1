"""Callbacks of trace points; loggers are tested with doubles, since their libraries are optional."""

import sys
from types import SimpleNamespace

import pytest

from expunge.base.errors import ExpungeError, ExpungeWarning
from expunge.compute.callbacks import MLflow, TensorBoard, TracePoint, WeightsAndBiases
from expunge.compute.context import Context
from expunge.compute.processes import Processes
from expunge.compute.runtime import Runtime
from expunge.methods.unlearn import make_method, unlearn

POINTS = [TracePoint(1, 0.5, {"forget": 2.0, "keep": 0.25}, 0), TracePoint(2, 1.0, {"forget": 1.0}, 3)]
FIGURES = {"achieved": 0, "seconds": 0.5, "loss/forget": 2.0, "loss/keep": 0.25}


def test_an_edit_tells_every_point_of_its_trace(trained, rows):
    told = []
    runtime = Runtime(callbacks=(told.append,))
    edit = unlearn(trained, rows, method=make_method("negative-gradient"), runtime=runtime)
    assert tuple(told) == edit.trace
    assert told


def test_a_callback_that_fails_is_not_called_again_and_ends_nothing():
    told, calls = [], []

    def fails(point):
        calls.append(point)
        raise OSError("no server")

    context = Context(Runtime(callbacks=(fails, told.append)))
    with pytest.warns(ExpungeWarning, match=r"failed at step 1 and is not called again \(OSError: no server\)"):
        context.tell(POINTS[0])
    context.tell(POINTS[1])
    assert calls == POINTS[:1]
    assert told == POINTS


def test_only_the_first_process_tells():
    class Second(Processes):
        rank = 1

    told = []
    context = Context(Runtime(callbacks=(told.append,), processes=Second()))
    context.tell(POINTS[0])
    assert told == []


def test_tensorboard_draws_every_figure(monkeypatch, tmp_path):
    scalars, flushed = [], []

    class Writer:
        def __init__(self, folder):
            assert folder == str(tmp_path)

        def add_scalar(self, name, value, step):
            scalars.append((name, value, step))

        def flush(self):
            flushed.append(len(scalars))

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    logger = TensorBoard(tmp_path)
    for point in POINTS:
        logger(point)
    assert scalars[:4] == [(name, value, 1) for name, value in FIGURES.items()]
    assert scalars[4:] == [("achieved", 3, 2), ("seconds", 1.0, 2), ("loss/forget", 1.0, 2)]
    assert flushed == [4, 7]


def test_tensorboard_itself_reads_what_was_written(tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = TensorBoard(tmp_path)
    for point in POINTS:
        logger(point)
    logger.close()
    found = reading.EventAccumulator(str(tmp_path))
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss/forget")] == [(1, 2.0), (2, 1.0)]
    assert [event.value for event in found.Scalars("achieved")] == [0, 3]


@pytest.mark.parametrize("given", [True, False])
def test_weights_and_biases_logs_to_a_run(monkeypatch, given):
    logged = []
    run = SimpleNamespace(log=lambda figures, step: logged.append((figures, step)))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda: run))
    logger = WeightsAndBiases(run) if given else WeightsAndBiases()
    logger(POINTS[0])
    assert logged == [(FIGURES, 1)]


def test_mlflow_logs_metrics(monkeypatch):
    logged = []
    double = SimpleNamespace(log_metrics=lambda figures, step: logged.append((figures, step)))
    monkeypatch.setitem(sys.modules, "mlflow", double)
    MLflow()(POINTS[0])
    assert logged == [(FIGURES, 1)]


@pytest.mark.parametrize(
    ("module", "make"),
    [("torch.utils.tensorboard", lambda: TensorBoard("x")), ("wandb", WeightsAndBiases), ("mlflow", MLflow)],
)
def test_a_missing_library_is_named_with_the_extra(monkeypatch, module, make):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExpungeError, match=r"pip install expunge\[loggers\]"):
        make()
