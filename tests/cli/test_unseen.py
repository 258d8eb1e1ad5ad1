"""The goal unseen on every surface: run, result, table, card, audit, and an audit of the files anew."""

import csv
import json
import sys

import pytest
from small_job import write_job

from expunge.audit.audit_json import read_audit
from expunge.cli import main

MET = "the label of every forgotten image leads by no more than was estimated for one that was never seen"
CLASSIFIER = ["--model", "tiny_networks:build", "--mean", "0.5", "--std", "0.25", "--device", "cpu"]
ROWS = ["--data", "npz:images.npz", "--forget-indices", "4,9,11", "--goal", "unseen"]
QUICK = [
    *("--set", "surrogates.inverted=0", "--set", "surrogates.mixes=80", "--set", "surrogates.procedural=40"),
    *("--set", "exact.steps=20", "--set", "exact.surrogate_batch=16"),
]


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    write_job(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "tiny_networks", raising=False)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["expunge", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code, capsys.readouterr()

    return run


def margins(folder):
    return [float(row["margin"]) for row in csv.DictReader((folder / "rows.csv").read_text().splitlines())]


def test_every_surface_says_what_was_asked_and_that_it_holds(call, tmp_path):
    flags = [*CLASSIFIER, "--weights", "weights.safetensors", *ROWS]
    code, said = call("run", *flags, *QUICK, "--audit", "quick", "--out", "out")
    assert code == 0
    assert MET in said.out
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["goal"], result["strength"], result["goal_achieved"]) == ("unseen", "exact", 1.0)
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").read_text().splitlines()))
    assert {row["goal_met"] for row in rows} == {"yes"}
    assert MET in (tmp_path / "out" / "README.md").read_text()
    first = tmp_path / "out" / "audit"
    assert read_audit(first).figures["goal.exact"].value == 100
    assert min(margins(first)) > 0
    page = (first / "report.html").read_text()
    assert "as uncertain of 3 pictures as it is estimated to be had it never seen them" in page
    assert "The 3 pictures are answered with no more certainty than asked" in page
    assert "get other answers" not in page
    assert "pictures are forgotten" not in page

    code, said = call("audit", "out", "--allow-code", "--level", "quick", "--out", "again")
    assert code == 0, said
    again = tmp_path / "again"
    assert read_audit(again).figures["goal.exact"].value == 100
    assert margins(again) == pytest.approx(margins(first), abs=1e-4), "what is allowed is estimated anew, the same"
