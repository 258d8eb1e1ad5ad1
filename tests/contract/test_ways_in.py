"""Every row of the table in docs/inputs.md: models, images, checkpoints, folders and tables as people have them."""

import argparse
import copy
import itertools
import json
import re
import shutil
import sys
import tarfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from expunge.base.errors import ClassifierError, ExpungeWarning
from expunge.compute.runtime import Runtime
from expunge.data.preprocessing import Preprocessing
from expunge.jobs.inputs import load_inputs
from expunge.jobs.job import DataPart, ForgetPart, GoalChoice, Job, ModelPart
from expunge.methods.unlearn import unlearn
from expunge.models.classifier import Classifier
from expunge.models.pixels import Normalisation
from expunge.models.sources import ModelSource, load_classifier

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "inputs.md"
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.5)
WAYS = {}
NAMES = ("ant", "bee", "cat", "dog")


def way(function):
    """Add a test to the table under its own name."""
    WAYS[function.__name__.replace("_", " ")] = function
    return function


def small(classes=4):
    """Return a network for images of 8x6 with a BatchNorm."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        return nn.Sequential(*layers, nn.Linear(16, classes)).eval()


class Having:
    """What the ways work on: a network, five 8-bit images and their labels, and a folder."""

    def __init__(self, folder):
        generator = torch.Generator().manual_seed(1)
        self.folder, self.network = folder, small()
        self.bytes = torch.randint(0, 256, (5, 3, 8, 6), generator=generator, dtype=torch.uint8)
        self.x = self.bytes.float() / 255
        self.y = torch.tensor([0, 1, 2, 3, 1])
        self.classifier = Classifier.wrap(self.network, num_classes=4, mean=MEAN, std=STD, class_names=NAMES)

    def forget(self, model=None, forget=None, **said):
        """Return the edit of one quick step."""
        given = (self.x, self.y) if forget is None else forget
        quick = {"method": "negative-gradient", "max_steps": 1, "minimum_right": 0.0}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*rows are not predicted as labelled", ExpungeWarning)
            return unlearn(self.classifier if model is None else model, given, **{**quick, **said})

    def same_rows(self, edit, rows=range(5)):
        """Check that an edit forgot these rows."""
        assert torch.allclose(edit.task.forget_set.x, self.x[list(rows)], atol=1e-6)
        assert torch.equal(edit.task.forget_set.y, self.y[list(rows)])

    def same_answers(self, classifier, network=None):
        """Check that a classifier answers as `network` does to normalised images."""
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
        expected = (network or self.network)((self.x - mean) / std)
        classifier.module.eval()
        assert torch.allclose(classifier(self.x), expected, atol=1e-4)

    def picture(self, row):
        return Image.fromarray(self.bytes[row].permute(1, 2, 0).numpy())

    def files(self, folder, rows=range(5)):
        """Write images, one folder a class, and return their paths from `folder`."""
        paths = [f"{NAMES[int(self.y[row])]}/{row}.png" for row in rows]
        for row, path in zip(rows, paths, strict=True):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            self.picture(row).save(folder / path)
        return paths

    def saved(self, content, key=None, name="a.ckpt"):
        """Return the classifier of a checkpoint with this content."""
        torch.save(content, self.folder / name)
        return self.loaded(self.folder / name, key)

    def loaded(self, path, key=None):
        source = ModelSource("ways_in_networks:small", path, 4, Normalisation(MEAN, STD), weights_key=key)
        return load_classifier(source).classifier

    def inputs(self, data, forget, **model):
        """Return what a job loads."""
        part = ModelPart(architecture="ways_in_networks:small", mean=(0.5,), std=(0.25,), **model)
        job = Job(model=part, data=data, forget=forget)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*random weights")
            return load_inputs(job, Runtime())


@pytest.fixture
def having(tmp_path, monkeypatch):
    (tmp_path / "ways_in_networks.py").write_text(
        "from tests_of_ways_in import small as make\n\ndef small():\n    return make()\n"
    )
    monkeypatch.setitem(sys.modules, "tests_of_ways_in", sys.modules[__name__])
    monkeypatch.delitem(sys.modules, "ways_in_networks", raising=False)
    monkeypatch.chdir(tmp_path)
    yield Having(tmp_path)
    sys.modules.pop("ways_in_networks", None)


def test_the_document_has_a_row_for_each_test_and_no_other():
    rows = re.findall(r"^\| ([a-z][^|]*?) \|", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert [row for row in rows if row not in ("way", "column", "argument")] == list(WAYS)
    assert len(WAYS) >= 30


# Models


@way
def a_plain_network(having):
    with pytest.warns(ExpungeWarning, match="nothing is known of the network's normalisation"):
        edit = having.forget(having.network)
    assert edit.task.classifier.num_classes == 4
    assert torch.equal(edit.task.classifier(having.x), having.network(having.x))


@way
def a_wrapped_network(having):
    having.same_answers(having.classifier)
    for mean, std in ((torch.tensor(MEAN), np.array(STD)), (list(MEAN), STD)):
        having.same_answers(Classifier.wrap(having.network, num_classes=4, mean=mean, std=std))
    assert Classifier.wrap(having.network, num_classes=4, mean=0.5, std=0.5).normalisation == Normalisation(
        (0.5,), (0.5,)
    )


@way
def a_model_of_timm(having):
    timm = pytest.importorskip("timm")
    network = timm.create_model("resnet10t", num_classes=4).eval()
    classifier = Classifier.from_timm(network)
    data = timm.data.resolve_model_data_config(network)
    assert classifier.normalisation == Normalisation(
        *(tuple(torch.tensor(data[name]).tolist()) for name in ("mean", "std"))
    )
    assert classifier.preprocessing.crop == data["input_size"][1:]
    assert classifier.class_names == ()
    assert len(Classifier.from_timm(timm.create_model("resnet10t")).class_names) == 1000
    assert repr(having.forget(network).task.classifier) == repr(classifier)


@way
def a_model_of_torchvision(having):
    models = pytest.importorskip("torchvision.models")
    classifier = Classifier.from_torchvision(models.squeezenet1_1(), "SqueezeNet1_1_Weights.DEFAULT")
    assert classifier.preprocessing == Preprocessing(256, (224, 224))
    assert classifier.class_names[:2] == ("tench", "goldfish")
    assert classifier.normalisation.mean == pytest.approx((0.485, 0.456, 0.406))
    own = Classifier.from_torchvision(models.squeezenet1_1(num_classes=4), models.SqueezeNet1_1_Weights.DEFAULT)
    assert (own.num_classes, own.class_names) == (4, ())


@way
def a_model_of_transformers(having):
    transformers = pytest.importorskip("transformers")
    names = dict(enumerate(NAMES))
    config = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic", id2label=names, label2id={}
    )
    network = transformers.ResNetForImageClassification(config).eval()
    processor = transformers.ViTImageProcessor(size={"height": 8, "width": 6}, image_mean=MEAN, image_std=STD)
    classifier = Classifier.from_transformers(network, processor)
    assert classifier.class_names == NAMES
    assert classifier.preprocessing.resize == (8, 6)
    assert classifier.normalisation.mean == pytest.approx(MEAN)
    edit = having.forget(classifier, [(having.picture(row), NAMES[int(having.y[row])]) for row in range(5)])
    having.same_rows(edit)


@way
def a_compiled_network(having):
    compiled = torch.compile(having.network)
    classifier = Classifier.wrap(compiled, num_classes=4, mean=MEAN, std=STD)
    assert classifier.network is having.network
    assert not any("_orig_mod" in name for name in classifier.network.state_dict())


@way
def a_network_in_DataParallel(having):  # noqa: N802 - its name
    classifier = Classifier.wrap(nn.DataParallel(having.network), num_classes=4, mean=MEAN, std=STD)
    assert classifier.network is having.network


@way
def an_averaged_network(having):
    averaged = torch.optim.swa_utils.AveragedModel(having.network)
    having.same_answers(Classifier.wrap(averaged, num_classes=4, mean=MEAN, std=STD))
    timm = pytest.importorskip("timm.utils")
    having.same_answers(Classifier.wrap(timm.ModelEmaV3(having.network), num_classes=4, mean=MEAN, std=STD))


@way
def a_network_in_half_precision(having):
    for kind in (torch.float16, torch.bfloat16):
        half = copy.deepcopy(having.network).to(kind)
        with pytest.warns(ExpungeWarning, match=rf"weights are {str(kind)[6:]}: they are edited and saved as float32"):
            classifier = Classifier.wrap(half, num_classes=4, mean=MEAN, std=STD)
        assert next(half.parameters()).dtype == kind
        assert having.forget(classifier).classifier(having.x).dtype == torch.float32


@way
def a_network_that_answers_with_a_mapping(having):
    class Answers(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, x):
            return {"features": x, "logits": self.network(x)}

    classifier = Classifier.wrap(Answers(having.network), num_classes=4, mean=MEAN, std=STD)
    having.same_answers(classifier)
    having.same_rows(having.forget(classifier))


@way
def a_network_that_answers_with_a_tuple(having):
    class Answers(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, x):
            return x.flatten(1), self.network(x)

    having.same_answers(Classifier.wrap(Answers(having.network), num_classes=4, mean=MEAN, std=STD))


@way
def a_network_with_one_logit(having):
    network = small(1)
    classifier = Classifier.wrap(network, num_classes=2, mean=0.0, std=1.0)
    logits = classifier(having.x)
    assert torch.allclose(logits.softmax(dim=1)[:, 1], torch.sigmoid(network(having.x)[:, 0]))
    answers = logits.argmax(dim=1)
    assert torch.equal(answers, (network(having.x)[:, 0] > 0).long())
    with pytest.warns(ExpungeWarning, match="nothing is known of the network's normalisation"):
        assert having.forget(network, (having.x, answers)).task.classifier.num_classes == 2
    edit = having.forget(classifier, (having.x[:1], answers[:1]), max_steps=200)
    assert edit.goal_achieved == 1.0
    assert int(edit.classifier.network(having.x[:1])[0, 0] > 0) != int(answers[0])


@way
def a_network_of_several_labels_an_image(having):
    classifier = Classifier.wrap(having.network, label=2, mean=MEAN, std=STD, class_names=("no", "yes"))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    given = having.network((having.x - mean) / std)
    assert torch.allclose(classifier(having.x)[:, 1], given[:, 2], atol=1e-5)
    several = (given > 0).long()
    edit = having.forget(classifier, (having.x[:2], several[:2]), max_steps=200)
    assert torch.equal(edit.task.forget_set.y, several[:2, 2])
    assert edit.goal_achieved == 1.0


@way
def a_traced_network(having):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(having.network, having.x)
    with pytest.raises(ClassifierError, match=r"network\.load_state_dict\(traced\.state_dict\(\)\)"):
        having.forget(traced)
    network = small()
    network.load_state_dict(traced.state_dict())
    having.same_answers(Classifier.wrap(network, num_classes=4, mean=MEAN, std=STD))


# Images


@way
def two_tensors(having):
    having.same_rows(having.forget(forget=(having.x, having.y.int()), indices=[3, 1]), [3, 1])
    having.same_rows(having.forget(forget=(having.bytes, having.y[:, None])))


@way
def two_arrays(having):
    pixels = having.bytes.permute(0, 2, 3, 1).numpy()
    edit = having.forget(forget=(pixels, having.y.numpy().astype(np.uint8)), indices=np.array([4, 0]))
    having.same_rows(edit, [4, 0])
    assert edit.task.forget_set.ids == ("4", "0")
    having.same_rows(having.forget(forget=(having.x.double().numpy(), having.y.numpy())))


class Pictures(Dataset):
    """Images that are normalised as they are loaded, as in most training scripts."""

    def __init__(self, having, transform=None):
        self.having, self.transform = having, transform

    def __len__(self):
        return 5

    def __getitem__(self, row):
        picture = self.having.picture(row)
        return (picture if self.transform is None else self.transform(picture)), int(self.having.y[row])


@way
def a_data_set_of_pictures(having):
    having.same_rows(having.forget(forget=Pictures(having), indices="0,2-3"), [0, 2, 3])


@way
def a_data_set_that_normalises(having):
    transforms = pytest.importorskip("torchvision.transforms")
    steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    edit = having.forget(having.network, Pictures(having, steps), indices=range(2, 5))
    having.same_rows(edit, range(2, 5))
    having.same_answers(edit.task.classifier)
    timm = pytest.importorskip("timm")  # whose configuration names another normalisation
    network = timm.create_model("resnet10t", num_classes=4).eval()
    edit = having.forget(network, Pictures(having, steps), indices=range(2, 5))
    having.same_answers(edit.task.classifier, network)
    random = transforms.Compose([transforms.ColorJitter(0.5), steps])
    with pytest.warns(ExpungeWarning, match="changes its images by chance each time they are read"):
        having.forget(having.network, Pictures(having, random))


@way
def a_loader(having):
    subset = Subset(TensorDataset(having.x, having.y), [4, 2, 0])
    edit = having.forget(forget=DataLoader(subset, batch_size=2, shuffle=True), indices=[2, 0])
    having.same_rows(edit, [0, 4])


@way
def a_list_of_pairs(having):
    pairs = [(having.picture(row), NAMES[int(having.y[row])]) for row in range(5)]
    having.same_rows(having.forget(forget=pairs, indices=2), [2])


@way
def a_data_frame(having):
    pandas = pytest.importorskip("pandas")
    paths = having.files(having.folder)
    frame = pandas.DataFrame({"path": paths, "label": [NAMES[label] for label in having.y], "new_label": "dog"})
    edit = having.forget(forget=frame, indices=[0, 2], goal="relabel", method="relabel-only")
    having.same_rows(edit, [0, 2])
    assert edit.task.forget_set.ids == ("ant/0.png", "cat/2.png")
    assert edit.task.forget_set.y_new.tolist() == [3, 3]


@way
def grey_image_files(having):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 4))
    classifier = Classifier.wrap(network, num_classes=4, mean=0.5, std=0.25, class_names=NAMES)
    pictures, paths = [having.picture(row).convert("L") for row in range(5)], [f"{row}.png" for row in range(5)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    for model, given in itertools.product((classifier, network), (paths, pictures, having.files(having.folder))):
        x = having.forget(model, (given, having.y.tolist()), indices=[3, 1]).task.forget_set.x
        assert torch.equal((x * 255).round().byte()[0, 0], torch.from_numpy(np.array(pictures[3])))


@way
def a_data_set_of_Hugging_Face(having):  # noqa: N802 - its name
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
    columns = {"image": [having.picture(row) for row in range(5)], "label": having.y.tolist()}
    dataset = datasets.Dataset.from_dict(columns, features=features)
    edit = having.forget(forget=dataset, indices=[1, 4])
    having.same_rows(edit, [1, 4])
    assert edit.task.forget_set.ids == ("1", "4")


@way
def a_streamed_data_set_of_Hugging_Face(having):  # noqa: N802 - its name
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
    columns = {"image": [having.picture(row) for row in range(5)], "label": having.y.tolist()}
    streamed = datasets.Dataset.from_dict(columns, features=features).to_iterable_dataset()
    having.same_rows(having.forget(forget=streamed, indices=[1, 4]), [1, 4])
    renamed = streamed.rename_columns({"image": "jpg", "label": "cls"})
    having.same_rows(having.forget(forget=renamed))


def issues_of(having):
    """Return what cleanlab's `Datalab.get_issues("label")` gives: rows 1 and 3 are marked."""
    pandas = pytest.importorskip("pandas")
    columns = {
        "is_label_issue": [False, True, False, True, False],
        "label_score": [0.9, 0.1, 0.8, 0.2, 0.7],
        "given_label": having.y.tolist(),
        "predicted_label": [0, 2, 2, 0, 1],
    }
    return pandas.DataFrame(columns)


@way
def the_issues_of_cleanlab(having):
    issues = issues_of(having)
    for given in (issues, issues.sort_values("label_score"), issues[issues["is_label_issue"]]):
        edit = having.forget(indices=given, method="relabel-only")
        having.same_rows(edit, [1, 3])
        assert edit.task.forget_set.y_new.tolist() == [2, 0]
    assert having.forget(indices=issues, new_labels=False).task.goal.name == "misclassify"
    with pytest.raises(ValueError, match="issues whose given_label is the label of the image, got 1 others"):
        having.forget(indices=issues.assign(given_label=[0, 1, 2, 2, 1]))


@way
def a_mask(having):
    having.same_rows(having.forget(indices=having.y == 1), [1, 4])
    having.same_rows(having.forget(indices=[False, False, True, False, False]), [2])


# Checkpoints


@way
def safetensors(having):
    save_file(having.network.state_dict(), having.folder / "w.safetensors")
    having.same_answers(having.loaded(having.folder / "w.safetensors"))


@way
def safetensors_in_shards(having):
    index = having.folder / "model.safetensors.index.json"
    places = {}
    for number, (name, tensor) in enumerate(having.network.state_dict().items(), 1):
        places[name] = f"model-{number:05}.safetensors"
        save_file({name: tensor}, having.folder / places[name])
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    having.same_answers(having.loaded(index))


@way
def a_state_dict(having):
    having.same_answers(having.saved(having.network.state_dict()))


@way
def a_checkpoint_of_Lightning(having):  # noqa: N802 - its name
    state = {f"model.{name}": tensor for name, tensor in having.network.state_dict().items()}
    state |= {"loss.weight": torch.ones(4), "val_acc.correct": torch.ones(1)}
    with pytest.warns(ExpungeWarning, match=r"2 entries are no part of the network .*: loss\.weight, val_acc\.correct"):
        having.same_answers(having.saved({"state_dict": state, "hyper_parameters": {"lr": 0.1}}))


def other_weights(having):
    other = copy.deepcopy(having.network)
    with torch.no_grad():
        other[-1].bias.add_(1)
    return other


@way
def a_network_and_its_moving_average(having):
    average = other_weights(having)
    content = {"model": having.network.state_dict(), "model_ema": average.state_dict()}
    with pytest.warns(ExpungeWarning, match="holds several states: model, model_ema; model was taken"):
        having.same_answers(having.saved(content))
    having.same_answers(having.saved(content, "model_ema"), average)
    having.files(having.folder / "photos")
    said = {"weights": "a.ckpt", "weights_key": "model_ema", "classes": NAMES}
    found = having.inputs(DataPart(source="imagefolder:photos"), ForgetPart(indices="0"), **said)
    assert torch.equal(found.loaded.classifier.network[-1].bias, average[-1].bias)


@way
def a_checkpoint_of_stochastic_weight_averaging(having):
    with pytest.warns(ExpungeWarning, match="left out: n_averaged"):
        having.same_answers(having.saved(torch.optim.swa_utils.AveragedModel(having.network).state_dict()))


@way
def a_checkpoint_under_net(having):
    having.same_answers(having.saved({"net": having.network.state_dict(), "acc": 93.1, "epoch": 199}))


@way
def a_checkpoint_of_timm(having):
    settings = argparse.Namespace(model="small", lr=0.1)
    content = {"epoch": 3, "arch": "small", "state_dict": having.network.state_dict(), "args": settings, "metric": 71.3}
    having.same_answers(having.saved(content))


@way
def weights_of_a_compiled_network(having):
    having.same_answers(having.saved(torch.compile(having.network).state_dict()))


@way
def weights_in_half_precision(having):
    half = copy.deepcopy(having.network).bfloat16()
    with pytest.warns(ExpungeWarning, match="is in bfloat16: it is edited and saved as float32"):
        having.same_answers(having.saved(half.state_dict()), half.float())


@way
def a_whole_network(having):
    with pytest.raises(ClassifierError, match=r"got pickled objects .*; open the model in the program that wrote"):
        having.saved(having.network)


# Folders and tables


@way
def one_folder_a_class(having):
    having.files(having.folder / "photos")
    found = having.inputs(DataPart(source="imagefolder:photos"), ForgetPart(indices="0,4"))
    assert found.forget_set.ids == ("ant/0.png", "dog/3.png")
    assert found.forget_set.y.tolist() == [0, 3]


def packed(having, place):
    """Write images, one folder a class, into an archive."""
    having.files(having.folder / "photos")
    with tarfile.open(place, "w") as archive:
        archive.add(having.folder / "photos", "photos")


@way
def an_archive_of_folders(having):
    packed(having, having.folder / "photos.tar")
    shutil.rmtree(having.folder / "photos")
    found = having.inputs(DataPart(source="tar:photos.tar"), ForgetPart(indices="0,4"))
    assert found.forget_set.ids == ("ant/0.png", "dog/3.png")
    assert found.forget_set.y.tolist() == [0, 3]
    assert torch.allclose(found.forget_set.x, having.x[[0, 3]], atol=1e-6)


@way
def archives_of_WebDataset(having, monkeypatch):  # noqa: N802 - its name
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", having.folder / "cache")
    paths = having.files(having.folder / "photos")
    (having.folder / "shards").mkdir()
    with tarfile.open(having.folder / "shards" / "train-0000.tar", "w") as archive:
        for row, path in enumerate(paths):
            archive.add(having.folder / "photos" / path, f"{row}.png")
            label = having.folder / "label"
            label.write_text(str(int(having.y[row])))
            archive.add(label, f"{row}.cls")
    found = having.inputs(DataPart(source="hf:shards"), ForgetPart(indices="1,4"))
    assert found.forget_set.y.tolist() == [1, 1]
    assert torch.allclose(found.forget_set.x, having.x[[1, 4]], atol=1e-6)


@way
def folders_of_some_classes(having):
    having.files(having.folder / "photos", [1, 2, 3])
    (having.folder / "names.txt").write_text("\n".join(NAMES))
    for said in (NAMES, ("names.txt",)):
        found = having.inputs(DataPart(source="imagefolder:photos"), ForgetPart(indices="0-2"), classes=said)
        assert found.forget_set.y.tolist() == [1, 2, 3]
        assert found.loaded.classifier.class_names == NAMES


@way
def a_table_of_a_spreadsheet(having):
    paths = having.files(having.folder)
    lines = [
        "id;path;label;new_label",
        *(f"no. {row};{path};{int(having.y[row])};ant" for row, path in enumerate(paths)),
    ]
    for code in ("utf-8-sig", "utf-16"):
        for separator in (";", "\t"):
            (having.folder / "table.csv").write_text("\r\n".join(lines).replace(";", separator), code)
            found = having.inputs(DataPart(source="folder:."), ForgetPart(indices="1-2"), classes=NAMES)
            assert found.forget_set.ids == ("no. 1", "no. 2")
            (having.folder / "forget.csv").write_text(
                "\r\n".join([lines[0], *lines[2:4]]).replace(";", separator), code
            )
            found = having.inputs(DataPart(source="folder:."), ForgetPart(table="forget.csv"), classes=NAMES)
            assert found.forget_set.y_new.tolist() == [0, 0]


@way
def the_CSV_of_cleanlab(having):  # noqa: N802 - its name
    np.savez(having.folder / "images.npz", x=having.bytes.numpy(), y=having.y.numpy())
    for index in (True, False):
        issues_of(having).to_csv(having.folder / "issues.csv", index=index)
        found = having.inputs(DataPart(source="npz:images.npz"), ForgetPart(table="issues.csv"))
        assert found.forget_set.ids == ("1", "3")
        assert found.forget_set.y_new.tolist() == [2, 0]
        having.same_rows(having.forget(indices="issues.csv", method="relabel-only"), [1, 3])


@way
def a_table_beside_a_folder(having):
    having.files(having.folder / "photos" / "train", [0, 1, 2, 3])
    having.files(having.folder / "photos" / "test", [2, 3])
    (having.folder / "photos" / "letters").mkdir()
    having.picture(4).save(having.folder / "photos" / "letters" / "x.png")
    (having.folder / "ask.csv").write_text("path,label,id\nletters/x.png,bee,letter 17\ntrain/cat/2.png,dog,wrong\n")
    data = DataPart(source="imagefolder:photos", table="ask.csv")
    found = having.inputs(data, ForgetPart(table="ask.csv"))
    assert found.forget_set.ids == ("letter 17", "wrong")
    assert found.forget_set.y.tolist() == [1, 3]
    assert len(found.splits.train.ids) == 5
    assert len(found.splits.test.ids) == 2


@way
def a_table_with_a_column_split(having):
    paths = having.files(having.folder)
    splits = ("train", "val", "train", "Test", "train")
    lines = [f"{path},{int(having.y[row])},{splits[row]}" for row, path in enumerate(paths)]
    (having.folder / "table.csv").write_text("\n".join(["path,label,split", *lines]))
    found = having.inputs(DataPart(source="folder:."), ForgetPart(indices="1"))
    assert found.forget_set.ids == ("cat/2.png",)
    assert list(found.splits.test.ids) == ["bee/1.png", "dog/3.png"]


@way
def a_function_of_your_own(having):
    (having.folder / "ways_in_images.py").write_text(
        "import torch\n\ndef load():\n    x, y = torch.zeros(3, 3, 8, 6, dtype=torch.uint8), [0, 1, 2]\n"
        "    return {'train': (x, y), 'test': (x[:2], y[:2])}\n"
    )
    found = having.inputs(DataPart(source="ways_in_images:load"), ForgetPart(indices="1"))
    sys.modules.pop("ways_in_images")
    assert found.forget_set.y.tolist() == [1]
    assert len(found.splits.test.labels) == 2


@way
def a_source_of_another_package(having, monkeypatch):
    info = having.folder / "ways_in_source-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ways-in-source\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[expunge.data]\nmine = ways_in_source:load\n")
    (having.folder / "ways_in_source.py").write_text(
        "from expunge.data.images import TensorImages\nfrom expunge.data.sources.splits import DataSplits\n"
        "import torch\n"
        "\ndef load(place, request):\n"
        "    return DataSplits(TensorImages([place.name], torch.tensor([3]), torch.zeros(1, 3, 8, 6)))\n"
    )
    monkeypatch.syspath_prepend(str(having.folder))
    found = having.inputs(DataPart(source="mine:somewhere/shelf"), ForgetPart(indices="0"))
    assert found.forget_set.ids == ("shelf",)


@way
def images_smaller_than_a_library_expects(having):
    pytest.importorskip("timm")
    np.savez(having.folder / "images.npz", x=having.bytes.numpy(), y=having.y.numpy())
    model = ModelPart(architecture="timm:resnet10t", num_classes=4)
    job = Job(model=model, data=DataPart(source="npz:images.npz"), forget=ForgetPart(indices="0"))
    job = replace(job, goal=GoalChoice.AUTO)
    words = (
        r"images of 8x6 are resized to \d+, cropped to \d+x\d+, as timm:resnet10t has it by default: .*--resize 6 --"
    )
    with pytest.warns(ExpungeWarning) as notes:
        load_inputs(job, Runtime())
    assert any(re.match(words, str(note.message)) for note in notes)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        load_inputs(replace(job, data=replace(job.data, resize=6, crop=6)), Runtime())
    assert not any("resized" in str(note.message) for note in notes)


@pytest.mark.parametrize("name", WAYS)
def test_way(name, having, monkeypatch):
    function = WAYS[name]
    function(*(having, monkeypatch)[: function.__code__.co_argcount])
