"""One small network of each family in timm, torchvision and transformers: can its layers be edited, and rightly?

    python benchmarks/families.py            all that are missing in the results
    python benchmarks/families.py --short    eight small ones, nothing written
    python benchmarks/families.py NAME ...   these, again

Weights are random and sizes the smallest, since what is tested is how a network is built. Three dead leaves get the
labels that the network answers. Row gradients are compared with autograd's, image by image; an exact and a robust edit
with few steps reach their goal or end in a clear error. Nothing is said about damage: there is nothing to damage.

Hardware:   two cores, no GPU
Time:       about half a core-hour, a few seconds each
Result:     benchmarks/results/families/README.md
"""

import importlib
import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import expunge
from expunge.base.disk import write_text
from expunge.base.errors import ExpungeError
from expunge.methods.layers import differentiate
from expunge.methods.tracing import find_layers, trace_rows
from expunge.models.classifier import Classifier
from expunge.surrogates.procedural import draw_leaves

RESULTS = Path(__file__).resolve().parent / "results" / "families"
CLASSES, ROWS = 5, 3
EQUAL = 0.01
"""Largest difference of two row gradients, as a share of their length, that counts as equal."""
NEGLIGIBLE = 1e-4
"""Share of the longest gradient of a network below which a layer's is rounding."""
SETTINGS = {
    "surrogates": {"mixes": 24, "procedural": 8, "inverted": 0},
    "exact": {"steps": 4, "surrogate_batch": 8, "depth": 1.0},
    "robust": {"steps": 8, "surrogate_batch": 8, "copies": 16},
}
SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Network:
    """A network of a family: what makes it, and the size of its images in pixels."""

    family: str
    library: str
    name: str
    size: int = 64
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return library and name."""
        return f"{self.library}:{self.name}"


def timm(family: str, name: str, size: int = 64, **settings: Any) -> Network:  # noqa: ANN401 - the library's own
    """Return a row for a network of timm."""
    return Network(family, "timm", name, size, settings)


def torchvision(family: str, name: str, size: int = 64, **settings: Any) -> Network:  # noqa: ANN401
    """Return a row for a network of torchvision: one of its models, or a class with its settings."""
    return Network(family, "torchvision", name, size, settings)


def transformers(family: str, name: str, size: int = 32, **settings: Any) -> Network:  # noqa: ANN401
    """Return a row for a network of transformers: the name of its configuration, and what makes it small."""
    return Network(family, "transformers", name, size, settings)


SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
PATCHES = {**SMALL, "image_size": 32, "patch_size": 8}
NETWORKS = (
    timm("ResNet", "test_resnet"),
    timm("ConvNeXt", "test_convnext"),
    timm("ConvNeXt v2", "test_convnext2"),
    timm("EfficientNet", "test_efficientnet"),
    timm("NFNet (scaled weights)", "test_nfnet"),
    timm("ByobNet", "test_byobnet"),
    timm("MambaOut", "test_mambaout"),
    timm("ViT", "test_vit", img_size=64),
    timm("ViT, averaged tokens", "test_vit3", img_size=64),
    transformers("ViT", "ViTConfig", **PATCHES),
    transformers("DeiT", "DeiTConfig", **PATCHES, architectures=["DeiTForImageClassification"]),
    transformers("BEiT", "BeitConfig", **PATCHES, use_relative_position_bias=True),
    transformers("Data2Vec", "Data2VecVisionConfig", **PATCHES),
    transformers(
        "DINOv2", "Dinov2Config", 32, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, patch_size=8
    ),
    transformers("ViT-MSN", "ViTMSNConfig", **PATCHES),
    transformers("SigLIP", "SiglipConfig", vision_config={**PATCHES}),
    transformers("CLIP", "CLIPConfig", vision_config={**PATCHES}),
    transformers("Swin", "SwinConfig", 56, image_size=56, embed_dim=16, depths=[1, 1], num_heads=[1, 2]),
    transformers("Swin v2", "Swinv2Config", 64, image_size=64, embed_dim=16, depths=[1, 1], num_heads=[1, 2]),
    transformers(
        "FocalNet",
        "FocalNetConfig",
        64,
        image_size=64,
        embed_dim=16,
        depths=[1, 1],
        hidden_sizes=[16, 32],
        focal_levels=[1, 1],
        focal_windows=[3, 3],
    ),
    transformers("ConvNeXt", "ConvNextConfig", hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1]),
    transformers("ConvNeXt v2", "ConvNextV2Config", hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1]),
    transformers("ResNet", "ResNetConfig", embedding_size=8, hidden_sizes=[16, 32], depths=[1, 1]),
    transformers("RegNet", "RegNetConfig", embedding_size=8, hidden_sizes=[16, 32], depths=[1, 1], groups_width=8),
    transformers("BiT", "BitConfig", embedding_size=16, hidden_sizes=[32, 64], depths=[1, 1], num_groups=4),
    transformers("MobileNet v1", "MobileNetV1Config", 64, depth_multiplier=0.25, image_size=64),
    transformers("MobileNet v2", "MobileNetV2Config", 64, depth_multiplier=0.25, image_size=64),
    transformers(
        "MobileViT",
        "MobileViTConfig",
        64,
        image_size=64,
        hidden_sizes=[16, 24, 32],
        neck_hidden_sizes=[8, 8, 16, 24, 32, 40, 64],
    ),
    transformers("MobileViT v2", "MobileViTV2Config", 64, image_size=64, width_multiplier=0.25),
    transformers("PoolFormer", "PoolFormerConfig", 64, hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1]),
    transformers(
        "PVT",
        "PvtConfig",
        64,
        image_size=64,
        hidden_sizes=[8, 16, 32, 64],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
    ),
    transformers(
        "PVT v2", "PvtV2Config", 64, hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2]
    ),
    transformers(
        "SegFormer",
        "SegformerConfig",
        64,
        hidden_sizes=[8, 16, 32, 64],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
    ),
    transformers("CvT", "CvtConfig", 64, embed_dim=[8, 16, 32], num_heads=[1, 1, 2]),
    transformers(
        "LeViT",
        "LevitConfig",
        64,
        image_size=64,
        hidden_sizes=[32, 48, 64],
        num_attention_heads=[2, 2, 2],
        depths=[1, 1, 1],
        architectures=["LevitForImageClassification"],
    ),
    transformers(
        "EfficientNet", "EfficientNetConfig", 64, width_coefficient=0.25, depth_coefficient=0.25, hidden_dim=320
    ),
    transformers("SwiftFormer", "SwiftFormerConfig", 64, embed_dims=[16, 32, 48, 64], depths=[1, 1, 1, 1]),
    transformers("Hiera", "HieraConfig", 64, image_size=[64, 64], embed_dim=16, depths=[1, 1, 1, 1]),
    torchvision("SqueezeNet", "squeezenet1_1"),
    torchvision("ShuffleNet v2", "shufflenet_v2_x0_5"),
    torchvision("MNASNet", "mnasnet0_5"),
    torchvision("MobileNet v3", "mobilenet_v3_small"),
    torchvision("GoogLeNet", "googlenet", init_weights=False),
    torchvision("ResNet", "resnet18", 32),
    torchvision(
        "ViT",
        "VisionTransformer",
        32,
        image_size=32,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=32,
        mlp_dim=64,
    ),
    torchvision(
        "Swin",
        "SwinTransformer",
        56,
        patch_size=[4, 4],
        embed_dim=16,
        depths=[1, 1],
        num_heads=[1, 2],
        window_size=[7, 7],
    ),
    torchvision(
        "MaxViT",
        "MaxVit",
        64,
        input_size=[64, 64],
        stem_channels=8,
        partition_size=4,
        block_channels=[16, 32],
        block_layers=[1, 1],
        head_dim=8,
        stochastic_depth_prob=0.0,
    ),
    timm("MobileNet v2", "mobilenetv2_035"),
    timm("MobileNet v3", "mobilenetv3_small_050"),
    timm("MobileNet v4", "mobilenetv4_conv_small_035"),
    timm("LCNet", "lcnet_035"),
    timm("GhostNet", "ghostnet_050"),
    timm("RepGhost", "repghostnet_050"),
    timm("RegNet X", "regnetx_002"),
    timm("RegNet Y", "regnety_002"),
    timm("DLA", "dla46x_c"),
    timm("SKNet", "skresnet18", 32),
    timm("ResNet-D with SE", "resnet10t"),
    timm("VoVNet", "ese_vovnet19b_slim_dw"),
    timm("MobileOne", "mobileone_s0"),
    timm("RepVGG", "repvgg_a0", 32),
    timm("RepViT", "repvit_m0_9"),
    timm("FastViT", "fastvit_t8"),
    timm("EdgeNeXt", "edgenext_xx_small"),
    timm("StarNet", "starnet_s050"),
    timm("EfficientViT (MIT)", "efficientvit_b0"),
    timm("EfficientViT (MSRA)", "efficientvit_m0", img_size=64),
    timm("LeViT", "levit_128s", img_size=64),
    timm("MobileViT", "mobilevit_xxs"),
    timm("MobileViT v2", "mobilevitv2_050"),
    timm("Swin", "swin_tiny_patch4_window7_224", 56, img_size=56, embed_dim=24, depths=(1, 1), num_heads=(1, 2)),
    timm("ViT, relative positions", "vit_relpos_small_patch16_224", img_size=64, embed_dim=24, depth=2, num_heads=2),
    timm("ViT with a standardised ResNet", "vit_tiny_r_s16_p8_224", img_size=64, depth=2),
    timm("BEiT", "beit_base_patch16_224", img_size=64, embed_dim=48, depth=2, num_heads=2),
    timm("EVA-02", "eva02_tiny_patch14_224", 56, img_size=56, depth=2),
    timm("CaiT", "cait_xxs24_224", img_size=64, depth=2),
    timm("XCiT", "xcit_nano_12_p16_224", img_size=64, depth=2),
    timm("PiT", "pit_ti_224", img_size=64),
    timm("PVT v2", "pvt_v2_b0"),
    timm("Twins", "twins_svt_small", img_size=64, depths=(1, 1, 1, 1)),
    timm("CoaT", "coat_lite_tiny", img_size=64),
    timm("CrossViT", "crossvit_9_240", 240),
    timm("TNT", "tnt_s_legacy_patch16_224", img_size=64, depth=2),
    timm("Visformer", "visformer_tiny", img_size=64),
    timm("NesT", "nest_tiny", img_size=64),
    timm("VOLO", "volo_d1_224", img_size=64),
    timm("TinyViT", "tiny_vit_5m_224", 224),
    timm("DaViT", "davit_tiny", depths=(1, 1), embed_dims=(24, 48), num_heads=(1, 2)),
    timm("GC ViT", "gcvit_xxtiny", img_size=64),
    timm("CoAtNet", "coatnet_pico_rw_224", img_size=64),
    timm("MaxViT", "maxvit_rmlp_pico_rw_256", img_size=64),
    timm("Hiera", "hiera_tiny_224", img_size=64, embed_dim=24, stages=(1, 1, 1, 1)),
    timm("PoolFormer", "poolformer_s12"),
    timm("MLP-Mixer", "mixer_s32_224", img_size=64),
    timm("ResMLP", "resmlp_12_224", img_size=64),
    timm("gMLP", "gmlp_ti16_224", img_size=64),
    timm("Sequencer (LSTM)", "sequencer2d_s", img_size=64, layers=(1, 1, 1, 1), embed_dims=(24, 48, 48, 48)),
    timm("Inception-NeXt", "inception_next_atto"),
    timm("BiT (standardised weights)", "resnetv2_50x1_bit", 32),
    timm("NF-RegNet (scaled weights)", "nf_regnet_b0"),
    timm("DenseNet", "densenet121", 32),
)
SHORT = (
    "timm:test_resnet",
    "timm:test_vit",
    "transformers:SwinConfig",
    "transformers:SiglipConfig",
    "transformers:BitConfig",
    "transformers:BeitConfig",
    "torchvision:VisionTransformer",
    "torchvision:SwinTransformer",
)


def main(arguments: Sequence[str]) -> None:
    """Measure what is asked for or missing, keep each line at once, and write the table."""
    warnings.simplefilter("ignore")
    if arguments == ["--short"]:
        for network in NETWORKS:
            if network.key in SHORT:
                print(json.dumps(measure(network)))
        return
    for network in NETWORKS:
        wanted = network.key in arguments if arguments else network.key not in read_lines()
        if wanted:
            line = measure(network)
            print(json.dumps(line), flush=True)
            found = {**read_lines(), network.key: line}
            kept = [found[each.key] for each in NETWORKS if each.key in found]
            RESULTS.mkdir(parents=True, exist_ok=True)
            write_text(RESULTS / "sweep.jsonl", "".join(json.dumps(each) + "\n" for each in kept))
            write_text(RESULTS / "README.md", make_page(kept))


def read_lines() -> dict[str, dict[str, Any]]:
    """Return the results so far, by network."""
    path = RESULTS / "sweep.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return {line["network"]: line for line in map(json.loads, lines)}


def measure(network: Network) -> dict[str, Any]:
    """Return what becomes of a network: routes of its layers, the largest error, and how both edits end."""
    started = time.process_time()
    torch.manual_seed(0)
    classifier = Classifier.wrap(build(network), num_classes=CLASSES, mean=[0.5] * 3, std=[0.25] * 3)
    drawn = draw_leaves(8, (3, network.size, network.size), classifier.bounds, torch.Generator().manual_seed(1))
    calibrate(classifier, drawn)
    x = drawn[:ROWS]
    line: dict[str, Any] = {
        "network": network.key,
        "family": network.family,
        "size": network.size,
        "weights": sum(weight.numel() for weight in classifier.module.parameters()),
    }
    line |= try_out(partial(compare_gradients, classifier, x), "gradients")
    for strength in expunge.Strength:
        line |= try_out(partial(edit, classifier, x, strength), strength.value)
    return line | {"seconds": round(time.process_time() - started, 1)}


def build(network: Network) -> nn.Module:
    """Return the network with random weights, in eval mode."""
    library: Any = importlib.import_module(network.library)
    made: nn.Module
    if network.library == "timm":
        made = library.create_model(network.name, num_classes=CLASSES, **network.settings)
    elif network.library == "transformers":
        configuration = getattr(library, network.name)(num_labels=CLASSES, **network.settings)
        made = library.AutoModelForImageClassification.from_config(configuration)
        for part in made.modules():  # the library's first weights are so small that some answers are all 0
            if isinstance(part, (nn.Linear, nn.Conv2d)):
                part.reset_parameters()
    else:
        place = library.models if hasattr(library.models, network.name) else library.models.maxvit
        made = getattr(place, network.name)(num_classes=CLASSES, **network.settings)
    return made.eval()


def calibrate(classifier: Classifier, x: torch.Tensor) -> None:
    """Give BatchNorm the statistics of some images; with untrained ones answers hardly depend on the image."""
    norms = [part for part in classifier.module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for part in norms:
        part.train().momentum = 1.0
    with torch.no_grad():
        classifier(x)
    for part in norms:
        part.eval().momentum = 0.1


def try_out(work: Callable[[], dict[str, Any]], name: str) -> dict[str, Any]:
    """Return what the work finds, or how it ends: `error` is a clear one of the package, `crash` any other."""
    try:
        return work()
    except ExpungeError as error:
        return {name: f"error: {error}"}
    except Exception as error:
        return {name: f"crash: {type(error).__name__}: {str(error).splitlines()[0][:200]}"}


def compare_gradients(classifier: Classifier, x: torch.Tensor) -> dict[str, Any]:
    """Return how many layers are edited on which route, and the largest relative error of a row gradient."""
    layers = find_layers(classifier, x)
    cotangent = torch.randn(len(x), CLASSES, generator=torch.Generator().manual_seed(2))
    _, traced = trace_rows(classifier, layers, x, lambda _: cotangent)
    worst = 0.0
    for row in range(len(x)):
        expected = differentiate((classifier(x) * cotangent)[row].sum(), layers)
        longest = max(float(each.norm()) for each in expected)
        for each, gradient in zip(traced, expected, strict=True):
            length = max(float(gradient.norm()), NEGLIGIBLE * longest)
            worst = max(worst, float((each.row_gradients()[row] - gradient).norm()) / length)
    candidates = [part for part in classifier.module.modules() if isinstance(part, (nn.Linear, nn.Conv2d))]
    routes = dict(Counter(layer.route.value for layer in layers))
    return {"routes": routes, "unedited": len(candidates) - len(layers), "error": worst, "gradients": worst <= EQUAL}


def edit(classifier: Classifier, x: torch.Tensor, strength: expunge.Strength) -> dict[str, Any]:
    """Return how an edit with few steps ends."""
    with torch.no_grad():
        labels = classifier(x).argmax(dim=1)
    result = expunge.unlearn(
        classifier,
        expunge.ForgetSet.numbered(x, labels),
        method=expunge.make_method("least-change", SETTINGS),
        strength=strength,
        limits=expunge.Limits(seconds=SECONDS),
    )
    return {strength.value: result.stop_reason.value, f"{strength.value}_steps": result.steps}


def make_page(lines: Sequence[dict[str, Any]]) -> str:
    """Return the table."""
    equal = sum(line["gradients"] is True for line in lines)
    crashed = sum("crash" in str(line.values()) for line in lines)
    reached = {strength: sum(line[strength] == "goal_reached" for line in lines) for strength in ("exact", "robust")}
    rows = [
        f"| {line['family']} | {line['network']} | {line['weights'] / 1e6:.2f} | {said(line['exact'])} "
        f"| {said(line['robust'])} | {routes_of(line)} | {said(line['gradients'])} | {line['seconds']:.0f} |"
        for line in lines
    ]
    return "\n".join(
        [
            "# One small network of each family",
            "",
            f"{len(lines)} networks of timm, torchvision and transformers, random weights, {ROWS} images to forget. "
            f"Row gradients equal autograd's on {equal} of them (within {EQUAL:.0%} of their length, layer by layer); "
            f"exact edits reach their goal on {reached['exact']}, robust ones on {reached['robust']}; {crashed} end in "
            "a traceback. Edits have few steps, since only the way that a network is built is tested here.",
            "",
            "Layers are edited by what flows through them (`flow`), by `torch.func` where they are not what they seem, "
            "or one image at a time; `unedited` layers have no part in the logits, or no gradient of their own. "
            "Written by `python benchmarks/families.py`; [sweep.jsonl](sweep.jsonl) has all figures.",
            "",
            "| family | network | million weights | exact | robust | layers edited by | gradients equal | seconds |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def said(value: object) -> str:
    """Return yes, no, or how an edit ended."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("_", " ").replace("|", "/")


def routes_of(line: dict[str, Any]) -> str:
    """Return how many layers are edited in which way."""
    counts = {**line.get("routes", {}), "unedited": line.get("unedited", 0)}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "-"


if __name__ == "__main__":
    main(sys.argv[1:])
