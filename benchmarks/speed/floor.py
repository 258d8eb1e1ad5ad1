"""How far the three most used paths are from what the processor can do: operations, peak rates, and where time goes.

    python benchmarks/speed/floor.py

Paths: the attack's step, the step of `l2ul`, the prediction of test images; ResNet-20, 32 x 32, one thread. The floor
is the operations of convolutions and matrix products over the best rate measured for a convolution or a matrix product
of the same numbers on this machine. About 2 minutes.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from setting import keep, load_setting
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from expunge.compute.devices import has_bfloat16
from expunge.compute.runtime import Precision, computing_in
from expunge.models.folding import choose_layout, fold_batchnorm
from expunge.surrogates.attack import Attack
from expunge.task.evaluation import compute_logits

BATCH, ROUNDS = 64, 7
CPU = torch.device("cpu")


def best_seconds(work: Callable[[], object]) -> float:
    """Return the least processor time of several calls."""
    work()
    times = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def measure_peaks() -> dict[str, float]:
    """Return the best operations a second of matrix products and 3x3 convolutions, by type of number."""
    peaks = {}
    for dtype in (torch.float32, torch.bfloat16):
        best = 0.0
        a, b = (torch.randn(1024, 1024).to(dtype) for _ in range(2))
        best = max(best, 2 * 1024**3 / best_seconds(partial(torch.matmul, a, b)))
        for channels, side in ((16, 32), (32, 16), (64, 8), (128, 32)):
            x = torch.randn(BATCH, channels, side, side).to(dtype).contiguous(memory_format=torch.channels_last)
            kernel = torch.randn(channels, channels, 3, 3).to(dtype)
            seconds = best_seconds(partial(F.conv2d, x, kernel, padding=1))
            best = max(best, 2 * BATCH * channels**2 * 9 * side**2 / seconds)
        peaks[str(dtype).removeprefix("torch.")] = best
    return peaks


def make_paths() -> dict[str, tuple[Callable[[], Tensor], str]]:
    """Return each path's work on one batch, and in what numbers it multiplies."""
    classifier, rows = load_setting(BATCH, 0)
    classifier = choose_layout(classifier, rows.x[:2])
    folded, working = fold_batchnorm(classifier, rows.x[:2]), classifier.copy()
    working.module.eval()
    weights = list(working.module.parameters())
    attack = Attack(precision=Precision.AUTO)

    def step_of_attack() -> Tensor:
        x = rows.x.clone().requires_grad_(True)
        with computing_in(attack.precision, CPU):
            logits = folded(x).float()
        return torch.autograd.grad(F.cross_entropy(logits, rows.y), x)[0]

    def step_of_edit() -> Tensor:
        return torch.autograd.grad(F.cross_entropy(working(rows.x), rows.y), weights)[0]

    numbers = "bfloat16" if has_bfloat16(CPU) else "float32"
    return {
        "attack, one step": (step_of_attack, numbers),
        "l2ul, one step": (step_of_edit, "float32"),
        "prediction": (lambda: compute_logits(classifier, rows.x), "float32"),
    }


def measure() -> dict[str, Any]:
    """Return peaks, and for each path operations and time an image, and its costliest operators."""
    peaks, paths = measure_peaks(), {}
    for name, (work, numbers) in make_paths().items():
        with FlopCounterMode(display=False) as counter:
            work()
        seconds = best_seconds(work)
        operations = counter.get_total_flops()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            work()
        total = sum(event.self_cpu_time_total for event in profile.key_averages())
        costly = sorted(profile.key_averages(), key=lambda event: -event.self_cpu_time_total)[:5]
        paths[name] = {
            "numbers": numbers,
            "operations_an_image": operations / BATCH,
            "seconds_an_image": seconds / BATCH,
            "share_of_peak": operations / seconds / peaks[numbers],
            "costliest": {event.key: event.self_cpu_time_total / total for event in costly},
        }
    return {"peaks": peaks, "paths": paths}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(keep("floor", measure))
