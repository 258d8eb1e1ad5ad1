import time
from contextlib import contextmanager

import pytest
import torch

from expunge.base.errors import SettingsError
from expunge.compute.context import Context
from expunge.compute.devices import peak_bytes
from expunge.compute.runtime import SILENT, Runtime


class Recorder:
    def __init__(self):
        self.phases, self.units = [], 0

    @contextmanager
    def phase(self, name, total):
        self.phases.append((name, total))

        def advance(units):
            self.units += units

        yield advance


def test_the_default_is_the_cpu_and_silence():
    runtime = Runtime()
    assert runtime.device == torch.device("cpu")
    assert runtime.progress is SILENT


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch):
    assert Runtime.on("auto").device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Runtime.on().device.type == "cpu"


@pytest.mark.parametrize("device", ["tpu-of-nowhere", "cuda:99"])
def test_an_absent_device_is_named(device):
    with pytest.raises(SettingsError, match=f"`device`: expected a device that this machine has, got {device}"):
        Runtime.on(device)


def test_a_batch_holds_an_image():
    with pytest.raises(SettingsError, match="`batch_size`: expected at least 1, got 0"):
        Runtime(batch_size=0)


def test_the_meter_adds_up_phases_and_gradients():
    recorder = Recorder()
    context = Context(Runtime(progress=recorder))
    for _ in range(2):
        with context.phase("attack", 3) as advance:
            advance(3)
            time.sleep(0.01)
    with context.phase("edit"):
        context.add_gradients(5)
    context.add_gradients(7)
    cost = context.cost()
    assert recorder.phases == [("attack", 3), ("attack", 3), ("edit", None)]
    assert recorder.units == 6
    assert cost.gradient_evaluations == 12
    assert cost.seconds_by_phase["attack"] >= 0.02
    assert cost.seconds >= sum(cost.seconds_by_phase.values())
    assert cost.peak_memory_bytes == pytest.approx(peak_bytes(torch.device("cpu")), rel=0.1)


def test_a_phase_that_fails_is_timed_too():
    context = Context(Runtime())
    with pytest.raises(KeyboardInterrupt), context.phase("edit"):
        raise KeyboardInterrupt
    assert "edit" in context.cost().seconds_by_phase


def test_a_cost_stays_as_it_was():
    context = Context(Runtime())
    cost = context.cost()
    with context.phase("later"):
        context.add_gradients(1)
    assert cost.seconds_by_phase == {}
    assert cost.gradient_evaluations == 0
