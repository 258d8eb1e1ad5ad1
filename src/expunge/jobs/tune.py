"""What `expunge tune` does, from files to files: forget sets that are not reported on, a search, a recipe."""

import json
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tomli_w
import torch

from expunge._version import __version__
from expunge.base.cells import csv_text
from expunge.base.disk import remove_files, write_text
from expunge.base.errors import SettingsError
from expunge.base.folders import output_folder
from expunge.base.settings import check_settings, describe_settings, merge, nest, setting, to_mapping
from expunge.compute.exactness import Float32
from expunge.compute.runtime import SILENT, Progress, Runtime
from expunge.data import DataSplits, forget_set, random_rows
from expunge.data.forget import ForgetSet
from expunge.data.images import Images, Subset, hash_images
from expunge.jobs.inputs import load_images, model_source
from expunge.jobs.job import DataPart, ModelPart, make_runtime
from expunge.jobs.search import Search, SearchRange, Trial, find_ranges
from expunge.methods import make_method
from expunge.methods.protocol import Aim, Method, revision_in_key
from expunge.methods.unlearn import unlearn
from expunge.models.classifier import Classifier
from expunge.models.sources import load_classifier
from expunge.task.edit import Edit
from expunge.task.evaluation import Predictions, predict
from expunge.task.goals import GOALS
from expunge.task.task import StopReason, Strength

JOURNAL, TRIALS, RECIPE = "search.log", "trials.csv", "recipe.toml"
FIRST_SEED = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneJob:
    """Everything that `expunge tune` is told."""

    method: str = setting("", "see `expunge methods`")
    model: ModelPart = field(default_factory=ModelPart)
    data: DataPart = field(default_factory=lambda: DataPart(retain_rows=2000, test_rows=2000))
    goal: str | None = setting(None, "misclassify or relabel; default: the method's first")
    strength: Strength | None = setting(None, "exact pixels, or robust to copies; default: the method's own")
    settings: Mapping[str, Any] = field(default_factory=dict, metadata={"meaning": "settings that are not searched"})
    ranges: Mapping[str, str] = field(default_factory=dict, metadata={"meaning": "LOW..HIGH by setting"})
    forget_rows: int = setting(16, "images of each forget set", at_least=1)
    forget_sets: int = setting(2, "forget sets that every trial is judged on", at_least=1)
    trials: int = setting(20, "trials in all, stopped ones before included", at_least=1)
    seconds: float | None = setting(None, "begin no further trial after so many seconds of trials", above=0)
    seed: int = setting(0, "source of all randomness", at_least=0)
    device: str = setting("auto", "cpu, cuda, cuda:1, mps, or auto")
    batch_size: int = setting(256, "images in one pass", at_least=1)
    float32: Float32 = setting(Float32.TF32, "what float32 means on a GPU: ieee, or tf32 in passes with gradients")
    deterministic: bool = setting(False, "same seed, same bits on a GPU, too, or an error")

    def __post_init__(self) -> None:
        for part in (self.model, self.data, self):
            check_settings(part)
        for name, value in (("model", self.model.architecture), ("data", self.data.source)):
            if not value:
                raise SettingsError(name, "a source", "none", f"say --{name} KIND:NAME")
        if self.goal is not None and self.goal not in GOALS:
            raise SettingsError("goal", f"one of {', '.join(GOALS)}", self.goal)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a trial reached, means over the forget sets: accuracies in percent, the goal's share in percent."""

    goal: float
    forget: float
    retain: float
    test: float
    seconds: float


@dataclass(frozen=True, slots=True)
class _Bench:
    """What trials are judged on: the forget sets, what is measured, and the answers before."""

    job: TuneJob
    runtime: Runtime
    splits: DataSplits
    classifier: Classifier
    forgotten: tuple[tuple[list[int], ForgetSet], ...]
    measured: Mapping[str, Images]
    before: Mapping[str, Predictions]


def run_tune_job(job: TuneJob, out: Path, *, command: str, progress: Progress, overwrite: bool) -> Trial:
    """Search, save the best settings to out/recipe.toml and all trials to out/trials.csv, and return the best trial.

    A search that was stopped goes on when the same job is given again. After every trial both files are up to date.

    Args:
        job: what to search, and how long.
        out: the folder.
        command: what the recipe says it was made by.
        progress: shows the trials.
        overwrite: begin anew.

    Raises:
        ExpungeError: anything about the job, its inputs or the folder is not as it should be.
    """
    method = make_method(job.method, nest(job.settings))
    ranges = find_ranges(describe_settings(method), job.ranges, job.settings)
    with output_folder(out, overwrite=overwrite, result=RECIPE, goes_on=JOURNAL):
        if overwrite:
            remove_files(out, [JOURNAL])
        return _search(job, method, ranges, out, command, progress)


def _search(
    job: TuneJob, method: Method, ranges: tuple[SearchRange, ...], out: Path, command: str, progress: Progress
) -> Trial:
    bench = _load_bench(job)
    search = Search(out / JOURNAL, ranges, purpose=_purpose(job, method, ranges, bench), seed=job.seed)
    first = _first_values(method, ranges)
    with progress.phase("tune", job.trials) as advance:
        advance(len(search.trials))
        while _goes_on(job, search.trials):
            search.try_next(first, lambda values: _judge(bench, method, values))
            advance(1)
            _save(out, job, search.trials, _header(bench, ranges, command))
    _save(out, job, search.trials, _header(bench, ranges, command))  # perhaps all was done, and not yet saved
    return min(search.trials, key=lambda trial: trial.score)


def score_of(figures: Figures, before: Mapping[str, float], aim: Aim) -> float:
    """Return how far an edit is from what its method aims at, in points; 0 is the best.

    Where every row is to be misclassified: the share of rows for which the goal does not hold, in percent. Where the
    edit is to be as if the rows had never been seen: the distance of the rows' accuracy to that of unseen (test) images
    before, which is what a retrained classifier would show. To either the change of retain and test accuracy is added.

    >>> score_of(Figures(100, 0, 98, 90, 1), {"retain": 99, "test": 92}, Aim.MISCLASSIFY)
    3
    >>> score_of(Figures(8, 92, 98, 90, 1), {"retain": 99, "test": 92}, Aim.NEVER_SEEN)
    3
    """
    missed = 100 - figures.goal if aim is Aim.MISCLASSIFY else abs(figures.forget - before["test"])
    return missed + abs(before["retain"] - figures.retain) + abs(before["test"] - figures.test)


def _load_bench(job: TuneJob) -> _Bench:
    runtime = make_runtime(job, SILENT)
    loaded = load_classifier(model_source(job.model))
    splits = load_images(job.data, loaded)
    if splits.test is None:
        raise SettingsError("data", "a source with test images, to choose settings on", job.data.source)
    seeds = range(FIRST_SEED + job.seed * job.forget_sets, FIRST_SEED + (job.seed + 1) * job.forget_sets)
    rows = [random_rows(splits.train, job.forget_rows, seed=seed, name="forget_rows") for seed in seeds]
    forgotten = {row for each in rows for row in each}
    rest = Subset(splits.train, [row for row in range(len(splits.train.ids)) if row not in forgotten])
    measured = {"retain": _sample(rest, job.data.retain_rows), "test": _sample(splits.test, job.data.test_rows)}
    classifier = loaded.classifier.to(runtime.device)
    before = {name: predict(classifier, images, runtime) for name, images in measured.items()}
    sets = tuple((each, forget_set(splits.train, each)) for each in rows)
    return _Bench(job, runtime, splits, classifier, sets, measured, before)


def _sample(images: Images, count: int) -> Subset:
    return Subset(images, random_rows(images, min(max(1, count), len(images.labels)), seed=FIRST_SEED))


def _purpose(job: TuneJob, method: Method, ranges: tuple[SearchRange, ...], bench: _Bench) -> str:
    """Return what a search is for, without its budget: another purpose is another search.

    All of the method's settings and its revision are part of it, so that trials from before a default or the code
    changed are not gone on with.
    """
    parts = {**to_mapping(job), "settings": to_mapping(method), **revision_in_key(method)}
    for name in ("trials", "seconds", "device", "batch_size"):
        parts.pop(name, None)
    parts |= {"ranges": [str(each) for each in ranges], "classifier": bench.classifier.cache_key()}
    parts |= {"images": [hash_images(each) for each in bench.measured.values()]}
    return json.dumps(parts, sort_keys=True)


def _first_values(method: Method, ranges: tuple[SearchRange, ...]) -> dict[str, float]:
    """Return the method's own values, moved into the ranges where they are outside."""
    own = {item.name: item.default for item in describe_settings(method)}
    return {each.name: min(max(own[each.name] or each.low, each.low), each.high) for each in ranges}


def _goes_on(job: TuneJob, trials: list[Trial]) -> bool:
    spent = sum(trial.figures["seconds"] for trial in trials) * job.forget_sets
    return len(trials) < job.trials and (not trials or job.seconds is None or spent < job.seconds)


def _judge(bench: _Bench, method: Method, values: Mapping[str, float]) -> tuple[float, dict[str, float]]:
    chosen = _with_values(bench.job, method, values)
    found = [_edit_and_measure(bench, chosen, rows, forgotten) for rows, forgotten in bench.forgotten]
    means = {name: sum(asdict(each)[name] for each in found) / len(found) for name in asdict(found[0])}
    before = {name: each.accuracy for name, each in bench.before.items()}
    return score_of(Figures(**means), before, chosen.aim), means


def _with_values(job: TuneJob, method: Method, values: Mapping[str, float]) -> Method:
    return make_method(job.method, merge(to_mapping(method), nest(values)))


def _edit_and_measure(bench: _Bench, method: Method, rows: list[int], forgotten: ForgetSet) -> Figures:
    started, job = time.perf_counter(), bench.job
    gone = set(rows)
    rest = Subset(bench.splits.train, [row for row in range(len(bench.splits.train.ids)) if row not in gone])
    edit = unlearn(
        bench.classifier,
        forgotten,
        goal=GOALS[job.goal or method.goals[0]],
        method=method,
        seed=job.seed,
        runtime=bench.runtime,
        strength=job.strength,
        retain=rest,
    )
    if edit.stop_reason is StopReason.INTERRUPTED:
        raise KeyboardInterrupt
    after = {name: predict(edit.classifier, images, bench.runtime).accuracy for name, images in bench.measured.items()}
    forget = edit.predict_forget_set().after.accuracy
    return Figures(_goal_of(edit, bench.runtime), forget, after["retain"], after["test"], time.perf_counter() - started)


def _goal_of(edit: Edit, runtime: Runtime) -> float:
    robust = edit.task.strength is Strength.ROBUST
    return 100 * (edit.measure_robust_goal(runtime.sharing).share if robust else edit.goal_achieved)


def _save(out: Path, job: TuneJob, trials: list[Trial], header: list[str]) -> None:
    """Write the table of trials and the recipe of the best so far."""
    names = list(trials[0].values)
    columns: list[object] = ["trial", *names, "score", *trials[0].figures]
    table: list[list[object]] = [
        [number, *(trial.values[name] for name in names), trial.score, *trial.figures.values()]
        for number, trial in enumerate(trials)
    ]
    write_text(out / TRIALS, csv_text([columns, *table]))
    best = min(trials, key=lambda trial: trial.score)
    method = _with_values(job, make_method(job.method, nest(job.settings)), best.values)
    recipe = {"method": job.method, "strength": job.strength, "goal": job.goal, "settings": to_mapping(method)}
    written = tomli_w.dumps({name: value for name, value in recipe.items() if value is not None})
    lines = [*header, *_reached("Reached:   ", best), *_reached("At first:  ", trials[0])]
    write_text(out / RECIPE, "".join(f"# {line}".rstrip() + "\n" for line in lines) + "\n" + written)


def _header(bench: _Bench, ranges: tuple[SearchRange, ...], command: str) -> list[str]:
    job, counts = bench.job, {name: len(images.labels) for name, images in bench.measured.items()}
    before = ", ".join(f"{name} {each.accuracy:.2f}" for name, each in bench.before.items())
    return [
        f"Settings of {job.method}, found by search; a file for `expunge run --config`.",
        "",
        f"Command:   {command}",
        f"Hardware:  {platform.machine()}, {torch.get_num_threads()} threads, device {bench.runtime.device}; "
        f"torch {torch.__version__}, expunge {__version__}",
        f"Searched:  {', '.join(map(str, ranges))}",
        f"Chosen on: {job.forget_sets} forget sets of {job.forget_rows} random rows, {counts['retain']} retain and "
        f"{counts['test']} test images; figures on these test images are not those of unseen ones any more",
        f"Before:    {before} (accuracy in percent)",
    ]


def _reached(title: str, trial: Trial) -> list[str]:
    figures = Figures(**trial.figures)
    return [
        f"{title}score {trial.score:.2f}: goal {figures.goal:.1f}% of rows, forget {figures.forget:.2f}, "
        f"retain {figures.retain:.2f}, test {figures.test:.2f}; {figures.seconds:.1f} s an edit"
    ]
