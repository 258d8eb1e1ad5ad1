"""What notebooks and consoles show of an edit and a classifier."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from expunge.data.forget import ForgetSet
from expunge.methods.unlearn import unlearn
from expunge.task.task import Limits


@pytest.fixture(scope="module")
def edit(trained, twelve):
    x = torch.cat([twelve.x, twelve.x[:2]])
    names = (*(f"<{number}>" for number in range(13)), "last")
    named = replace(trained, class_names=("red", "green", "blue", "yellow", "<b>cyan"))
    rows = ForgetSet(names, x, torch.cat([twelve.y, twelve.y[:2]]))
    return unlearn(named, rows, method="negative-gradient", limits=Limits(steps=1), minimum_right=0)


def test_an_edit_is_one_line(edit):
    count = int(edit.achieved.sum())
    words = rf"Edit\(negative-gradient, misclassify: {count} of 14 images, {edit.stop_reason.value} after 1 steps\)"
    assert re.fullmatch(words, repr(edit))


def test_a_notebook_shows_answers_before_and_after(edit):
    html = edit._repr_html_()
    before = edit.predict_forget_set().before
    assert f"<td>{before.accuracy:.0f}% before" in html or f"{before.accuracy:.0f}% before" in html
    assert html.count("<tr>") == 3 + (edit.expected is not None) + 1 + 12
    assert "and 2 more" in html
    assert "<b>cyan" not in html
    assert "&lt;b&gt;cyan" in html
    assert "<3>" not in html


def test_the_pictures_are_the_images(edit):
    codes = re.findall(r"data:image/png;base64,([^\"]+)", edit._repr_html_())
    assert len(codes) == 12
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(code)))) for code in codes]
    for picture, pixels in zip(pictures, edit.task.forget_set.x, strict=False):
        assert np.abs(picture - pixels.permute(1, 2, 0).numpy() * 255).max() <= 0.51


def test_a_classifier_is_one_line_and_one_table(edit):
    classifier = edit.task.classifier
    words = "Classifier(Sequential, 5 classes, names red/green/blue/..., mean 0.5 0.5 0.5, std 0.25 0.25 0.25)"
    assert repr(classifier) == words
    html = classifier._repr_html_()
    weights = sum(weight.numel() for weight in classifier.module.parameters())
    assert f"<td>weights</td><td>{weights:,}</td>" in html
    assert "<td>mean</td><td>0.5 0.5 0.5</td>" in html
