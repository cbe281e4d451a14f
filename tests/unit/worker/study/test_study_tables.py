"""The tables are read back as they were meant, by other programs and by spreadsheets."""

import csv
import io

import numpy as np
import pytest

from worker.sources.cells import text_of
from worker.study.comparisons import Comparison
from worker.study.curves import CurvePoint
from worker.study.scores import Interval, Scores
from worker.study.tables import (
    ArmPredictions,
    ArmScores,
    arms_table,
    comparisons_table,
    curve_table,
    predictions_table,
)

CLASSES = ("=2+3", 'Effusion, "left"\nor right')
"""What a spreadsheet would run, and what a careless reader would split."""
INTERVAL = Interval(2 / 3, 0.5, 1.0)
SCORES = Scores(INTERVAL, Interval(0.25, 0.0, 1.0), None, (INTERVAL, None), (None, INTERVAL), ((2, 1), (0, 0)), 0)


def read(text: str) -> list[dict[str, str]]:
    lines = list(csv.reader(io.StringIO(text, newline="")))
    assert "\r" not in text
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def test_arms() -> None:
    (row,) = read(arms_table([ArmScores("real_synthetic", "test", (500, 1000, 500), SCORES)], CLASSES))
    assert (row["arm"], row["part"], row["amounts"]) == ("real_synthetic", "test", "500 1000 500")
    assert (row["accuracy"], row["accuracy_low"], row["accuracy_high"]) == ("0.666667", "0.5", "1")
    assert row["balanced_accuracy"] == "0.25"
    assert row["auc"] == row["auc_low"] == row["auc_high"] == ""
    assert row["sensitivity_low of =2+3"] == "0.5"
    assert row[f"sensitivity of {CLASSES[1]}"] == ""
    assert row["specificity_high of =2+3"] == ""
    assert row[f"specificity of {CLASSES[1]}"] == "0.666667"
    confusion = {text_of(name): images for name, images in row.items() if " taken for " in name}
    assert list(confusion) == [f"{true} taken for {taken}" for true in CLASSES for taken in CLASSES]
    assert list(confusion.values()) == ["2", "1", "0", "0"]


def test_no_cell_from_a_request_is_a_formula() -> None:
    texts = (arms_table([ArmScores("real", "test", (0,), SCORES)], CLASSES), predictions_table([PREDICTIONS], CLASSES))
    for text in texts:
        cells = [cell for line in csv.reader(io.StringIO(text, newline="")) for cell in line]
        assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == []


def test_comparisons() -> None:
    text = comparisons_table([Comparison("real", "synthetic", -1 / 3, 1.23456789e-7, 0.05, "mcnemar")])
    assert text.splitlines() == [
        "first,second,difference,p_value,adjusted_p_value,test",
        "real,synthetic,-0.333333,1.23457e-07,0.05,mcnemar",
    ]


def test_the_curve() -> None:
    points = [CurvePoint("synthetic", amount, SCORES, SCORES) for amount in (500, 1000)]
    rows = read(curve_table([*points, CurvePoint("real", 0, SCORES, SCORES)], {"synthetic": (1000, 500, 1000)}))
    assert [(row["arm"], row["amount"], row["folds_that_chose_it"]) for row in rows] == [
        ("synthetic", "500", "1"),
        ("synthetic", "1000", "2"),
        ("real", "0", "0"),
    ]
    for part in ("validation", "test"):
        assert [float(rows[0][f"{part}_accuracy{end}"]) for end in ("", "_low", "_high")] == [0.666667, 0.5, 1]
        assert float(rows[0][f"{part}_balanced_accuracy"]) == 0.25


PREDICTIONS = ArmPredictions(
    arm="real",
    images=np.array([7, 9]),
    patients=np.array([30, 31]),
    folds=np.array([1, 2]),
    amounts=np.array([0, 0]),
    truth=np.array([0, 1]),
    predicted=np.array([1, 1]),
    likely=np.array([[1 / 3, 2 / 3], [1e-9, 1 - 1e-9]]),
)


def test_predictions() -> None:
    first, second = read(predictions_table([PREDICTIONS], CLASSES))
    assert [first[name] for name in ("arm", "image", "patient", "fold", "amount")] == ["real", "7", "30", "1", "0"]
    assert (text_of(first["class"]), text_of(first["predicted"])) == CLASSES
    assert text_of(second["class"]) == CLASSES[1]
    assert float(first["probability of =2+3"]) == pytest.approx(1 / 3, abs=1e-6)
    assert second["probability of =2+3"] == "1e-09"


def test_without_rows_there_is_the_header_alone() -> None:
    for text in (arms_table([], CLASSES), comparisons_table([]), curve_table([], {}), predictions_table([], CLASSES)):
        assert read(text) == []
        assert text
