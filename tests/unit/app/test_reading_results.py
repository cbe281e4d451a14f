"""Readers of known skill, over HTTP: the results give it back, and what comes of all together."""

from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

import httpx
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score  # type: ignore[import-untyped]  # it ships no types

from ended import write_reader_study
from worker.contract.readings import Reader, Truth
from worker.contract.store import Store

COUNT = 100
CLASSES = ("Mass", "Nodule", "No Finding")
SKILL = {"Ada": (0.9, 0.8), "Ben": (0.7, 0.6), "Eve": (0.5, 1 / 3)}
"""How probably a reader is right about the origin, and about the class. Eve guesses."""


Told = dict[str, dict[str, list[str]]]


def simulate(http: httpx.Client, store: Store, study: str, truth: Truth, name: str, seed: int) -> dict[str, list[str]]:
    """A reader of this name reads all; returns the answers by index, which hang on the image and not on the order."""
    chance = np.random.default_rng(seed)
    told: dict[str, list[str]] = {"origin": [], "class": []}
    for image in truth.images:
        for task, right, names, skill in (
            ("origin", image.origin, ("real", "synthetic"), SKILL[name][0]),
            ("class", image.class_name, CLASSES, SKILL[name][1]),
        ):
            told[task].append(
                right if chance.random() < skill else chance.choice([name for name in names if name != right])
            )
    reader = http.post(f"/v1/reader-studies/{study}/readers", json={"name": name}).json()
    file = store.folder(study) / "readers" / reader["id"] / "reader.json"
    for index in Reader.model_validate_json(file.read_bytes()).order:
        is_right = told["origin"][index] == truth.images[index].origin
        answer = {"confidence": 4 if is_right else 2, "seconds": 1.5 + index % 3}
        answer |= {task: answers[index] for task, answers in told.items()}
        reader = http.put(reader["next"]["answer"], json=answer).json()
    return told


def holds(estimate: dict[str, float], value: float) -> bool:
    return estimate["low"] <= value <= estimate["high"]


def intervals_hold(reader: dict[str, Any]) -> Iterator[bool]:
    """Of each number of a reader, whether its interval has the true one; the first are of the origin as a whole."""
    normal = NormalDist()
    for task, names, skill in zip(
        ("origin", "class"), (("real", "synthetic"), CLASSES), SKILL[reader["name"]], strict=True
    ):
        found, by_chance = reader["tasks"][task], 1 / len(names)
        false_alarm = (1 - skill) / (len(names) - 1)
        d_prime = normal.inv_cdf(skill) - normal.inv_cdf(false_alarm)
        yield holds(found["accuracy"], skill)
        yield holds(found["kappa"], (skill - by_chance) / (1 - by_chance))
        yield holds(found["answers"][names[-1]]["d_prime"], d_prime)
        for each in found["answers"].values():
            yield holds(each["sensitivity"], skill)
            yield holds(each["specificity"], 1 - false_alarm)
            yield holds(each["d_prime"], d_prime)


def test_readers_of_known_skill_are_found_to_have_it(http, store, training):
    study, truth = write_reader_study(store, training, count=COUNT, classes=CLASSES)
    told = {name: simulate(http, store, study, truth, name, seed) for seed, name in enumerate(SKILL)}
    results = http.get(f"/v1/reader-studies/{study}/results").json()
    assert (results["images"], results["finished"], results["unfinished"]) == (2 * COUNT, 3, 0)

    held = [list(intervals_hold(reader)) for reader in results["readers"]]
    assert all(all(each[:3]) for each in held)
    assert np.mean(held) >= 0.9  # they are of 95 %

    check_numbers(truth, told, results["readers"])
    check_agreement(told, results)
    together = results["together"]
    accuracies = [reader["tasks"]["origin"]["accuracy"]["value"] for reader in results["readers"]]
    assert (together["answers"], "reader" in together) == (6 * COUNT, False)
    assert together["tasks"]["origin"]["accuracy"]["value"] == pytest.approx(np.mean(accuracies))
    assert together["tasks"]["origin"]["accuracy"]["of"] == 6 * COUNT
    assert any("too narrow" in caveat for caveat in results["caveats"])


def check_numbers(truth: Truth, told: Told, readers: list[dict[str, Any]]) -> None:
    """Each reader's are those of the answers, to the letter."""
    is_real = np.array([image.origin == "real" for image in truth.images])
    for reader in readers:
        right = np.array(told[reader["name"]]["origin"]) == [image.origin for image in truth.images]
        origin = reader["tasks"]["origin"]
        assert origin["accuracy"]["value"] == right.mean()
        assert origin["accuracy_by_origin"]["real"]["value"] == right[is_real].mean()
        assert origin["answers"]["synthetic"]["sensitivity"]["value"] == right[~is_real].mean()
        assert origin["answers"]["synthetic"]["specificity"]["value"] == right[is_real].mean()
        assert origin["confidence"] == {"right": 4, "wrong": 2}
        assert (reader["answers"], reader["median_seconds"]) == (2 * COUNT, 2.5)
        assert reader["confidence"] == pytest.approx(2 + 2 * right.mean())


def check_agreement(told: Told, results: dict[str, Any]) -> None:
    names = {reader["reader"]: reader["name"] for reader in results["readers"]}
    for task, agreement in results["agreement"].items():
        assert len(agreement["pairs"]) == 3
        for pair in agreement["pairs"]:
            some, others = (told[names[reader]][task] for reader in pair["readers"])
            assert pair["kappa"]["value"] == pytest.approx(cohen_kappa_score(some, others))
    # Two who are right independently of each other agree as much as the product of what either has in common with the
    # truth.
    (ada_and_ben,) = (
        pair["kappa"]
        for pair in results["agreement"]["origin"]["pairs"]
        if {names[each] for each in pair["readers"]} == {"Ada", "Ben"}
    )
    assert holds(ada_and_ben, (2 * SKILL["Ada"][0] - 1) * (2 * SKILL["Ben"][0] - 1))


def test_who_always_says_the_same_has_results_too(http, store, training):
    study, _ = write_reader_study(store, training)
    for name in ("Ada", "Ben"):
        reader = http.post(f"/v1/reader-studies/{study}/readers", json={"name": name}).json()
        while reader["next"]:
            answer = {"origin": "real", "confidence": 1, "seconds": 0}
            reader = http.put(reader["next"]["answer"], json=answer).json()
    results = http.get(f"/v1/reader-studies/{study}/results").json()
    origin = results["readers"][0]["tasks"]["origin"]
    assert (origin["accuracy"]["value"], origin["kappa"]["value"]) == (0.5, 0)
    assert origin["answers"]["synthetic"]["d_prime"]["value"] == pytest.approx(0)
    assert results["agreement"]["origin"]["pairs"][0]["kappa"]["value"] is None
    assert results["agreement"]["origin"]["fleiss_kappa"] is None
    assert origin["confidence"] == {"right": 1, "wrong": 1}
