"""What only a full audit measures: features, noised copies, likeness of layers, relearning, and pictures of planes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool

from expunge.audit.collect.collected import Deep, Embedding, FeaturePart, Noised, Perturbed
from expunge.audit.collect.features import LayerSimilarity, gather_features, layer_similarity
from expunge.audit.collect.given_away import GivenAway, ask_change
from expunge.audit.collect.relearning import Relearning, relearn
from expunge.audit.collect.slices import cut_slice
from expunge.audit.collect.untrained import answer_untrained
from expunge.audit.metrics import geometry
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.record import Slice
from expunge.compute.runtime import Runtime
from expunge.compute.seeds import draw_numbers, seeded_generator
from expunge.data.forget import ForgetSet
from expunge.data.images import Images, Subset, TensorImages
from expunge.models.classifier import Classifier
from expunge.task.evaluation import compute_logits
from expunge.task.transforms import noised

T = TypeVar("T")
FEATURE_ROWS = 2000
NOISED_ROWS = 1000
NOISED_AT_ONCE = 256
"""Whatever the batch size: noise is drawn for so many together."""
PERTURBED_ROWS = 64
PERTURBED_COPIES = 100
PERTURBED_DEVIATION = 0.03
"""Standard deviation of the noise as a share of the range of pixels, the largest of arXiv 2601.22359."""
LAYER_ROWS = 256
EMBEDDED_ROWS = 300
NAMED_ROWS, CANDIDATES = 256, 1000
SLICES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything that is looked at more closely.

    Args:
        before: the classifier as it was.
        after: the edited one.
        rows: the forgotten rows.
        right: by part, for each image whether `before` answers with its label.
        images: retain and test images by part, where there are any.
        retrained: classifiers that never saw the rows.
        seed: source of all randomness.
        runtime: device and progress.
    """

    before: Classifier
    after: Classifier
    rows: ForgetSet
    right: Mapping[str, Bool[np.ndarray, " n"]]
    images: Mapping[str, Images]
    retrained: Sequence[Classifier]
    seed: int
    runtime: Runtime

    @property
    def other(self) -> str:
        """Return the part that stands for other images: test, or else retain.

        Raises:
            NotDefinedError: there is neither.
        """
        for name in ("test", "retain"):
            if name in self.images:
                return name
        raise NotDefinedError("there are no retain or test images")

    def part(self, name: str) -> Images:
        """Return the images of a part."""
        if name == "forget":
            return TensorImages(self.rows.ids, self.rows.y.cpu(), self.rows.x)
        return self.images[name]


def look_closer(scene: Scene) -> Deep:
    """Return everything that a full audit gathers; a piece that can't be had has its reason instead."""
    reasons: dict[str, str] = {}

    def attempt(name: str, gather: Callable[[], T], otherwise: T) -> T:
        try:
            return gather()
        except NotDefinedError as error:
            reasons[name] = str(error)
            return otherwise

    no_features: dict[str, FeaturePart] = {}
    no_embeddings: dict[str, Embedding] = {}
    features = attempt("features", lambda: _features(scene), no_features)

    def need_features() -> Mapping[str, FeaturePart]:
        if not features:
            raise NotDefinedError(reasons["features"])
        return features

    return Deep(
        features=features,
        noised=_noised(scene) if "test" in scene.images else None,
        perturbed=_perturbed(scene),
        layers=attempt("layers", lambda: _layers(scene), ()),
        relearning=attempt("relearning", lambda: _relearning(scene), ()),
        embeddings=attempt("tsne", lambda: _embeddings(scene, need_features()), no_embeddings),
        slices=attempt("slices", lambda: _slices(scene, need_features()), ()),
        given_away=attempt("given_away", lambda: _given_away(scene), None),
        untrained=attempt(
            "untrained", lambda: answer_untrained(scene.after, scene.rows, scene.seed, scene.runtime), None
        ),
        reasons=reasons,
    )


def _features(scene: Scene) -> dict[str, FeaturePart]:
    found = {}
    for name in ("forget", *scene.images):
        images = scene.part(name)
        rows = choose_rows(len(images.labels), FEATURE_ROWS, scene.seed, f"features of {name}")
        chosen = Subset(images, rows)
        classifiers = [scene.before, scene.after, *scene.retrained[:1]]
        each = [gather_features(one, chosen, scene.runtime, f"features, {name}") for one in classifiers]
        found[name] = FeaturePart(np.array(rows), each[0], each[1], each[2] if len(each) > 2 else None)
    return found


def _given_away(scene: Scene) -> GivenAway | None:
    """Return what the change of the weights says of forgotten images, and of others: retain images if there are any."""

    def draw(part: str, wanted: int) -> Images:
        images = scene.part(part)
        return Subset(images, choose_rows(len(images.labels), wanted, scene.seed, f"candidates of {part}"))

    others = "retain" if "retain" in scene.images else scene.other
    forgotten, candidates = draw("forget", NAMED_ROWS), draw(others, CANDIDATES)
    return ask_change(scene.before, scene.after, forgotten, candidates, scene.runtime)


def _noised(scene: Scene) -> Noised:
    test, bounds = scene.images["test"], scene.before.bounds
    rows = choose_rows(len(test.labels), NOISED_ROWS, scene.seed, "noised test rows")
    generator = seeded_generator(scene.seed, "noise")
    answers: dict[str, list[np.ndarray]] = {"before": [], "after": []}
    for start in range(0, len(rows), NOISED_AT_ONCE):
        copies = noised(test.load(rows[start : start + NOISED_AT_ONCE]), bounds, generator)
        for when, classifier in (("before", scene.before), ("after", scene.after)):
            logits = compute_logits(classifier, copies, scene.runtime.sharing)
            answers[when].append(logits.argmax(dim=1).cpu().numpy())
    return Noised(np.concatenate(answers["before"]), np.concatenate(answers["after"]))


def _perturbed(scene: Scene) -> Perturbed:
    """Return the answers to noised copies of at most `PERTURBED_ROWS` forgotten rows, a copy of each at a time."""
    rows = choose_rows(len(scene.rows), PERTURBED_ROWS, scene.seed, "perturbed rows")
    x, bounds = scene.rows.x[rows], scene.before.bounds
    generator = seeded_generator(scene.seed, "perturbed")
    classifiers = [scene.before, scene.after, *scene.retrained]
    answers: list[list[np.ndarray]] = [[] for _ in classifiers]
    with scene.runtime.progress.phase("noised copies", PERTURBED_COPIES) as advance:
        for _ in range(PERTURBED_COPIES):
            noise = PERTURBED_DEVIATION * bounds.width * torch.randn(x.shape, generator=generator)
            copies = bounds.clip(x + noise.to(x))
            for found, classifier in zip(answers, classifiers, strict=True):
                logits = compute_logits(classifier, copies, scene.runtime.sharing)
                found.append(logits.argmax(dim=1).cpu().numpy().astype(np.int32))
            advance(1)
    before, after, *retrained = (np.stack(found) for found in answers)
    return Perturbed(np.array(rows), before, after, tuple(retrained))


def _layers(scene: Scene) -> tuple[LayerSimilarity, ...]:
    found: list[LayerSimilarity] = []
    for name in ("forget", *([scene.other] if scene.images else [])):
        images = scene.part(name)
        rows = choose_rows(len(images.labels), LAYER_ROWS, scene.seed, f"layers, {name}")
        found += layer_similarity(scene.before, scene.after, Subset(images, rows), scene.runtime, name)
    if not found:
        raise NotDefinedError("the two classifiers share no layer by name")
    return tuple(found)


def _relearning(scene: Scene) -> tuple[Relearning, ...]:
    if "retain" not in scene.images:
        raise NotDefinedError("there are no retain images to train on")
    classifiers = {"original": scene.before, "edited": scene.after}
    classifiers |= {f"retrained {number}": each for number, each in enumerate(scene.retrained, 1)}
    return tuple(
        relearn(
            classifier,
            scene.images["retain"],
            scene.rows,
            name=name,
            generator=seeded_generator(scene.seed, "relearning"),
            runtime=scene.runtime,
        )
        for name, classifier in classifiers.items()
    )


def _embeddings(scene: Scene, features: Mapping[str, FeaturePart]) -> dict[str, Embedding]:
    chosen = {
        name: choose_rows(len(features[name].rows), EMBEDDED_ROWS, scene.seed, f"map of {name}")
        for name in ("forget", "retain", "test")
        if name in features
    }
    ends = np.cumsum([len(places) for places in chosen.values()])[:-1]

    def embed(when: str) -> list[np.ndarray]:
        parts = [getattr(features[name], when)[places] for name, places in chosen.items()]
        return np.split(geometry.embed(np.concatenate(parts), scene.seed), ends)

    return {
        name: Embedding(features[name].rows[places], before, after)
        for (name, places), before, after in zip(chosen.items(), embed("before"), embed("after"), strict=True)
    }


def _slices(scene: Scene, features: Mapping[str, FeaturePart]) -> tuple[Slice, ...]:
    """Return planes through some forgotten rows, the nearest image of another class and the nearest of its own.

    The original classifier gets the images of a plane right wherever it does so at all: where it doesn't, there may be
    no boundary to see. Which they are does not depend on the edit, so that audits of several edits cut the same planes.
    """
    name = scene.other
    images, rows = scene.part(name), scene.rows
    drawn = torch.randperm(len(rows), generator=seeded_generator(scene.seed, "slices")).tolist()
    chosen = sorted(drawn, key=lambda row: not scene.right["forget"][row])[:SLICES]
    asked = {int(row): place for place, row in enumerate(features["forget"].rows)}
    places = features[name].rows
    labels, right = images.labels.numpy()[places], scene.right[name][places]
    found = []
    for row in (row for row in chosen if row in asked):
        order = geometry.nearest_rows(features["forget"].before[[asked[row]]], features[name].before, len(labels))[0]
        order = order[np.argsort(~right[order], kind="stable")]
        same = labels[order] == int(rows.y[row])
        if same.all() or not same.any():
            continue
        numbers = [int(places[order[flags.argmax()]]) for flags in (~same, same)]
        pictures = torch.cat([rows.x[[row]].cpu(), images.load(numbers)])
        names = (rows.ids[row], images.ids[numbers[0]], images.ids[numbers[1]])
        cut = cut_slice(scene.before, scene.after, pictures, names=names, row=row, at_once=scene.runtime.sharing)
        found += [] if cut is None else [cut]
    if not found:
        raise NotDefinedError(f"the {name} images hold none of a row's own class, or of others")
    return tuple(found)


def choose_rows(count: int, wanted: int, seed: int, purpose: str) -> list[int]:
    """Return `wanted` of `count` rows drawn at random, in ascending order; all of them if there are no more."""
    return draw_numbers(wanted, count, seeded_generator(seed, purpose))
