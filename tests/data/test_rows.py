import numpy as np
import pytest
import torch

from expunge.base.errors import DataError, ForgetSetError
from expunge.data.rows import find_rows, is_issues, read_issues, settle_issues


@pytest.mark.parametrize(
    ("indices", "rows"),
    [
        (None, [0, 1, 2, 3]),
        (2, [2]),
        (np.int64(2), [2]),
        (range(1, 3), [1, 2]),
        (np.array([3, 0], dtype=np.uint8), [3, 0]),
        (torch.tensor([3, 0]), [3, 0]),
        ([3.0, 0.0], [3, 0]),
        ("3,0-1", [3, 0, 1]),
        ([True, False, False, True], [0, 3]),
        (torch.tensor([False, True, False, False]), [1]),
    ],
)
def test_what_may_name_rows(indices, rows):
    assert find_rows(indices, 4) == rows


@pytest.mark.parametrize(
    ("indices", "words"),
    [
        ([4], r"expected numbers in 0\.\.3, got 4"),
        ([-1], r"expected numbers in 0\.\.3, got -1"),
        ([1, 1], "expected each number once"),
        ([], "expected at least one image, got none"),
        ([False] * 4, "expected at least one image, got none"),
        ([True] * 3, "expected 4 truth values, one an image"),
        ([0.5], "expected whole numbers, or one truth value an image"),
        ([[0, 1]], "expected whole numbers"),
        ("2-", "expected numbers and ranges such as"),
        ("0-9999999999", r"expected numbers in 0\.\.3"),
    ],
)
def test_what_names_no_rows(indices, words):
    with pytest.raises(ForgetSetError, match=words):
        find_rows(indices, 4)


def test_issues_of_a_CSV(tmp_path):  # noqa: N802 - its name
    path = tmp_path / "issues.csv"
    path.write_text(",is_label_issue,given_label,predicted_label\n7,True,ant,bee\n2,False,bee,bee\n3,TRUE,bee,bee\n")
    assert is_issues(str(path))
    issues = read_issues(path, 8)
    assert (issues.rows, issues.given, issues.predicted) == ((7, 3), ("ant", "bee"), ("bee", "bee"))
    kept, predicted = settle_issues(issues, torch.tensor([0, 1]), ("ant", "bee"))
    assert (kept, predicted.tolist()) == ([0], [1])
    with pytest.raises(
        ForgetSetError, match="expected issues whose given_label is the label of the image, got 1 others"
    ):
        settle_issues(issues, torch.tensor([1, 1]), ("ant", "bee"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("is_label_issue\nTrue\nFalse\n", r"expected 3 lines, one an image, got 2; write it with its index"),
        (",is_label_issue\n0,False\n1,False\n", "expected a line whose is_label_issue is true, got none"),
        (",is_label_issue\n5,True\n", r"expected numbers in 0\.\.2, got 5"),
    ],
)
def test_issues_that_name_no_rows(tmp_path, text, words):
    (tmp_path / "issues.csv").write_text(text)
    with pytest.raises(ForgetSetError, match=words):
        read_issues(tmp_path / "issues.csv", 3)


def test_a_table_of_something_else(tmp_path):
    (tmp_path / "issues.csv").write_text("id\n3\n")
    with pytest.raises(DataError, match="expected a column is_label_issue"):
        read_issues(tmp_path / "issues.csv", 3)


def test_issues_without_predictions(tmp_path):
    (tmp_path / "issues.csv").write_text(",is_label_issue\n0,True\n2,True\n")
    issues = read_issues(tmp_path / "issues.csv", 3)
    assert settle_issues(issues, torch.tensor([0, 1]), ()) == ([0, 1], None)


def test_issues_all_of_which_agree(tmp_path):
    (tmp_path / "issues.csv").write_text(",is_label_issue,predicted_label\n0,True,1\n")
    with pytest.raises(ForgetSetError, match="predicted_label is another than the given one, got none"):
        settle_issues(read_issues(tmp_path / "issues.csv", 3), torch.tensor([1]), ())
