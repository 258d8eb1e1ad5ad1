import json

import pytest
import torch
from safetensors.torch import save_file

from expunge.base.errors import ClassifierError, ExpungeWarning
from expunge.data.preprocessing import AS_IS, Interpolation, Preprocessing
from expunge.models.known import preprocessing_of_transformers
from expunge.models.pixels import Normalisation
from expunge.models.sources import ModelSource, load_classifier

transformers = pytest.importorskip("transformers")

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 16,
    "patch_size": 8,
}


def configuration(**settings):
    return transformers.ViTConfig(**SIZES, **settings)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a tiny ViT of three named classes and its image processor."""
    names = dict(enumerate(["ant", "bee", "cat"]))
    config = configuration(id2label=names, label2id={name: label for label, name in names.items()})
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    return tmp_path


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("batch", [1, 3])
def test_folder_gives_everything(folder, batch):
    loaded = load_classifier(ModelSource(f"transformers:{folder}"))
    assert loaded.classifier.class_names == ("ant", "bee", "cat")
    assert loaded.preprocessing == Preprocessing((16, 16), None, Interpolation.BILINEAR)
    x = torch.rand(batch, 3, 16, 16)
    network = transformers.ViTForImageClassification.from_pretrained(folder).eval()
    assert torch.allclose(loaded.classifier(x), network((x - 0.5) / 0.5).logits, atol=1e-6)
    assert not loaded.classifier.network.training


def test_half_precision_becomes_float32(folder):
    network = transformers.ViTForImageClassification.from_pretrained(folder).to(torch.bfloat16)
    network.save_pretrained(folder)
    loaded = load_classifier(ModelSource(f"transformers:{folder}"))
    assert {parameter.dtype for parameter in loaded.classifier.module.parameters()} == {torch.float32}


def test_weights_of_a_file_with_another_class_count(folder, tmp_path):
    network = transformers.ViTForImageClassification(configuration(num_labels=5))
    save_file(network.state_dict(), tmp_path / "other.safetensors")
    loaded = load_classifier(ModelSource(f"transformers:{folder}", tmp_path / "other.safetensors"))
    assert loaded.classifier.num_classes == 5
    assert loaded.classifier.class_names == ()
    assert torch.equal(loaded.classifier.network.classifier.weight, network.classifier.weight)


def test_without_a_processor_mean_and_std_are_asked_for(folder):
    (folder / "preprocessor_config.json").unlink()
    with (
        pytest.warns(ExpungeWarning, match="the image processor of .* cannot be used"),
        pytest.raises(ClassifierError, match="pass --mean and --std"),
    ):
        load_classifier(ModelSource(f"transformers:{folder}"))
    with pytest.warns(ExpungeWarning, match="images stay as they are unless --resize and --crop"):
        loaded = load_classifier(ModelSource(f"transformers:{folder}", normalisation=Normalisation((0.5,), (0.5,))))
    assert loaded.preprocessing == AS_IS


def test_other_pixel_scales_are_turned_into_ours(folder):
    edit(folder / "preprocessor_config.json", rescale_factor=1 / 127.5, image_mean=[1.0] * 3, image_std=[1.0] * 3)
    loaded = load_classifier(ModelSource(f"transformers:{folder}"))
    found = loaded.classifier.normalisation
    assert (found.mean, found.std) == (pytest.approx((0.5,) * 3), pytest.approx((0.5,) * 3))


def test_processor_without_normalisation(folder):
    edit(folder / "preprocessor_config.json", do_normalize=False)
    loaded = load_classifier(ModelSource(f"transformers:{folder}"))
    assert loaded.classifier.normalisation == Normalisation((0.0,), (1.0,))


def test_base_model_without_a_head_is_refused(folder):
    transformers.ViTModel(configuration()).save_pretrained(folder)
    with pytest.raises(ClassifierError, match=r"weights for every layer, got none for classifier\.bias"):
        load_classifier(ModelSource(f"transformers:{folder}"))


def test_pickled_weights_are_not_read(folder):
    network = transformers.ViTForImageClassification.from_pretrained(folder)
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ClassifierError, match="expected weights that the library finds, got OSError"):
        load_classifier(ModelSource(f"transformers:{folder}"))


def test_another_class_count_is_refused(folder):
    with pytest.raises(ClassifierError, match="`num_classes`: expected 3, as the model has, got 4"):
        load_classifier(ModelSource(f"transformers:{folder}", num_classes=4))


@pytest.mark.parametrize("place", ["./nowhere", "/no/where", "a/b/c"])
def test_missing_folders_are_not_looked_for_on_the_hub(place):
    with pytest.raises(ClassifierError, match=r"expected a folder with a config\.json"):
        load_classifier(ModelSource(f"transformers:{place}"))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"size": {"height": 20, "width": 30}, "resample": 3}, Preprocessing((20, 30), None, Interpolation.BICUBIC)),
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 200}},
            Preprocessing(256, (224, 200)),
        ),
        ({"do_resize": False, "size": {"height": 20, "width": 30}}, AS_IS),
        (
            {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "image_processor_type": "ConvNextImageProcessor"},
            Preprocessing(256, (224, 224)),
        ),
        (
            {"size": {"shortest_edge": 384}, "crop_pct": 0.875, "image_processor_type": "ConvNextImageProcessorFast"},
            Preprocessing((384, 384)),
        ),
    ],
)
def test_preprocessing_of_processors(settings, expected):
    assert preprocessing_of_transformers(settings) == expected
