"""A classifier in the formats that others load: safetensors, torch.export, ONNX, a folder for hubs; each is checked."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from expunge.base.disk import write_bytes
from expunge.base.errors import ExpungeError, OutputError, package_needed, suggest
from expunge.base.tensors import write_tensors
from expunge.compute.seeds import seeded_generator
from expunge.models.classifier import Classifier
from expunge.models.description import WEIGHTS_FILE, Description, write_description
from expunge.models.libraries import CONFIG_FILE, library_of, write_library_files
from expunge.models.modes import evaluating
from expunge.models.sources.saved import read_classifier

TOLERANCE = 1e-4
"""Largest difference of a logit, as a share of the largest logit, that is put down to rounding."""
BATCHES = (1, 3)
INPUT, OUTPUT = "pixels", "logits"

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written, and the largest difference of its logits from the classifier's; None if it has none."""

    path: Path
    largest_difference: float | None


def export_classifier(
    classifier: Classifier, description: Description, folder: Path, formats: Sequence[str]
) -> list[Exported]:
    """Write the classifier in each format and compare its outputs with the original's, for batches of 1 and 3.

    `torch-export` and `onnx` hold the normalisation too: they take pixels (b, c, h, w) within the classifier's bounds
    and return logits, for any b. `safetensors` holds the network's weights under their own names. `hub` is that with
    classifier.json and the configuration beside it with which timm's or transformers' own loader takes the folder; it
    is loaded so, and compared. Equal classifiers give equal bytes.

    Args:
        classifier: what to export.
        description: how it is used.
        folder: where to; it is there.
        formats: names of `FORMATS`.

    Raises:
        ExpungeError: an unknown format, a package that isn't installed, or outputs that differ.
        OutputError: a file can't be written, or the network can't be exported.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ExpungeError("format", f"one of {', '.join(FORMATS)}", unknown[0], suggest(unknown[0], FORMATS))
    on_cpu = classifier.to(torch.device("cpu")).frozen_copy()
    return [FORMATS[name](on_cpu, description, folder) for name in formats]


def _export_safetensors(classifier: Classifier, description: Description, folder: Path) -> Exported:
    path = folder / WEIGHTS_FILE
    write_tensors(path, classifier.network.state_dict(), {"format": "pt", "weights_sha256": classifier.sha256()})
    return Exported(path, None)


def _export_hub(classifier: Classifier, description: Description, folder: Path) -> Exported:
    _export_safetensors(classifier, description, folder)
    path = write_description(classifier, description, folder)
    library = library_of(classifier.network)
    if library is None:
        return Exported(path, None)
    write_library_files(classifier, description.shape, description.preprocessing, folder)
    with _quietly():
        loaded, _ = read_classifier(folder)
    path = folder / CONFIG_FILE
    return Exported(path, _compare(classifier, description.shape, path, loaded))


def _export_torch(classifier: Classifier, description: Description, folder: Path) -> Exported:
    stream = io.BytesIO()
    torch.export.save(_trace(classifier, description.shape), stream)
    path = folder / "model.pt2"
    write_bytes(path, stream.getvalue())
    module = torch.export.load(path).module()
    return Exported(path, _compare(classifier, description.shape, path, module))


def _export_onnx(classifier: Classifier, description: Description, folder: Path) -> Exported:
    with package_needed("onnxruntime", "export"):
        import onnxruntime  # noqa: PLC0415 - an optional extra
    with package_needed("onnxscript", "export"):
        import onnxscript  # noqa: F401, PLC0415 - an optional extra that torch.onnx uses
    with _quietly():
        traced = _trace(classifier, description.shape)
        program = torch.onnx.export(traced, input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False)
    assert program is not None  # noqa: S101 - dynamo=True without a file returns the program
    content = program.model_proto.SerializeToString()
    path = folder / "model.onnx"
    write_bytes(path, content)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(pixels: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: pixels.numpy()})[0])

    return Exported(path, _compare(classifier, description.shape, path, run))


FORMATS: Mapping[str, Callable[[Classifier, Description, Path], Exported]] = {
    "safetensors": _export_safetensors,
    "torch-export": _export_torch,
    "onnx": _export_onnx,
    "hub": _export_hub,
}


class _Whole(nn.Module):
    """The classifier's module with the argument's name that exported files show."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.module(pixels)
        return logits


def _trace(classifier: Classifier, shape: tuple[int, int, int]) -> torch.export.ExportedProgram:
    example = torch.zeros(2, *shape)
    batch = torch.export.Dim("batch")
    try:
        with _quietly(), evaluating(classifier.module):
            program = torch.export.export(_Whole(classifier.module).eval(), (example,), dynamic_shapes=({0: batch},))
    except Exception as error:  # torch.export raises errors of many kinds
        reason = str(error).strip().split("\n")[0]
        raise OutputError(
            "classifier", "a network that torch.export can trace", reason, "export safetensors"
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names the files of this machine
    return program


def _compare(classifier: Classifier, shape: tuple[int, int, int], path: Path, run: Run) -> float:
    """Return the largest difference of a logit, after checking that it is rounding and no prediction differs."""
    generator, largest = seeded_generator(0, "export"), 0.0
    for count in BATCHES:
        x = classifier.bounds.lower + torch.rand(count, *shape, generator=generator) * classifier.bounds.width
        with torch.no_grad(), evaluating(classifier.module):
            expected = classifier(x)
            found = run(x)
        if found.shape != expected.shape:
            raise OutputError(str(path), f"outputs of shape {tuple(expected.shape)}", str(tuple(found.shape)))
        largest = max(largest, (found - expected).abs().max().item())
        scale = max(1.0, expected.abs().max().item())
        if not largest <= TOLERANCE * scale or not torch.equal(found.argmax(dim=1), expected.argmax(dim=1)):
            raise OutputError(str(path), "the classifier's outputs", f"logits that differ by {largest:.3g}")
    return largest


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silence what exporters print and warn about their own insides; the comparison of outputs says what counts."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
