"""Memory and time of one exact least-change edit of all layers: ResNet-50 and ViT-B/16 at 224 x 224, 16 rows.

    python benchmarks/large_classifiers.py

Weights are random, since memory and time do not depend on them; the rows' labels are what the classifier answers, so
that there is something to forget. Each edit is a process of its own, whose largest resident memory is what is
reported. Finished ones are kept under runs/ and skipped. Writes README.md and
measured.jsonl to benchmarks/results/large_classifiers.

The steps are fewer than the default 50, to keep it to minutes; memory does not depend on their number, and seconds a
step are reported.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch

import expunge
from expunge.base.disk import write_json, write_text
from expunge.compute.bars import Bars
from expunge.compute.runtime import Runtime
from expunge.models.sources import ModelSource, load_classifier
from expunge.surrogates.procedural import draw_leaves

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs" / "large_classifiers"
RESULTS = ROOT / "benchmarks" / "results" / "large_classifiers"
CLASSIFIERS = ("torchvision:resnet50", "timm:vit_base_patch16_224")
ROWS, SIZE, BATCH = 16, 224, 8
SETTINGS = {"exact": {"steps": 8, "surrogate_batch": 16, "depth": 1.0}, "surrogates": {"mixes": 96, "procedural": 32}}


def main() -> None:
    """Measure what is missing and write the table."""
    RUNS.mkdir(parents=True, exist_ok=True)
    for name in CLASSIFIERS:
        path = RUNS / f"{name.replace(':', '-')}.json"
        if not path.exists():
            subprocess.run([sys.executable, __file__, name, path], check=True)  # noqa: S603 - this very file
    found = [json.loads((RUNS / f"{name.replace(':', '-')}.json").read_text("utf-8")) for name in CLASSIFIERS]
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_text(RESULTS / "measured.jsonl", "".join(json.dumps(each) + "\n" for each in found))
    write_text(RESULTS / "README.md", make_page(found))
    print(make_page(found))


def measure(name: str, path: Path) -> None:
    """Edit one classifier and write what it took."""
    warnings.simplefilter("ignore", expunge.ExpungeWarning)
    torch.manual_seed(0)
    classifier = load_classifier(ModelSource(name, None, 1000)).classifier
    x = draw_leaves(ROWS, (3, SIZE, SIZE), classifier.bounds, torch.Generator().manual_seed(1))
    with torch.no_grad():
        labels = torch.cat([classifier(part).argmax(dim=1) for part in x.split(BATCH)])
    runtime = Runtime(batch_size=BATCH, progress=Bars())
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    started, used = time.perf_counter(), time.process_time()
    edit = expunge.unlearn(
        classifier,
        expunge.ForgetSet.numbered(x, labels),
        method=expunge.make_method("least-change", SETTINGS),
        strength=expunge.Strength.EXACT,
        runtime=runtime,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    result = {
        "classifier": name,
        "weights": sum(weight.numel() for weight in classifier.module.parameters()),
        "stop_reason": edit.stop_reason.value,
        "goal_achieved": edit.goal_achieved,
        "steps": edit.steps,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - used,
        "seconds_by_phase": dict(edit.cost.seconds_by_phase),
        "gradient_evaluations": edit.cost.gradient_evaluations,
        "gigabytes": peak,
        "gigabytes_before": loaded,
        "threads": torch.get_num_threads(),
        "settings": SETTINGS,
        "versions": {"expunge": expunge.__version__, "torch": torch.__version__},
    }
    write_json(path, result)


def make_page(found: list[dict[str, Any]]) -> str:
    """Return the table."""
    lines = [
        "# One least-change edit of large classifiers",
        "",
        f"{ROWS} rows of {SIZE} x {SIZE} pixels, exact, misclassify, all layers, random weights. Written by "
        "`python benchmarks/large_classifiers.py`, which names the settings. Memory is the process's largest resident "
        "size, PyTorch and the classifier included (`before`: when the edit began). [measured.jsonl](measured.jsonl) "
        "has all that was measured.",
        "",
        "| classifier | weights | goal, % | steps | memory, GiB | before | seconds | CPU seconds | gradients | stop |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in found:
        lines.append(
            f"| {each['classifier']} | {each['weights'] / 1e6:.1f}M | {100 * each['goal_achieved']:.0f} "
            f"| {each['steps']} | {each['gigabytes']:.1f} | {each['gigabytes_before']:.1f} | {each['seconds']:.0f} "
            f"| {each['cpu_seconds']:.0f} | {each['gradient_evaluations']:,} | {each['stop_reason']} |"
        )
    threads, torch_version = found[0]["threads"], found[0]["versions"]["torch"]
    lines += [
        "",
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, {threads} threads, torch {torch_version}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
