"""Collections of images that the tests draw themselves, in the layouts of real ones."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)

NihRow = tuple[str, str, int, str, str, str]
"""File, findings joined with |, patient, age, sex, view."""


def draw_nih_folder(
    folder: Path, rows: Sequence[NihRow], *, outliers: Iterable[Sequence[Any]] = (), size: int = 40
) -> Path:
    """A folder in NIH's layout: metadata of these rows, a picture for each in images/, the outlier list if any."""
    (folder / "images").mkdir(parents=True)
    records = [(file, labels, 0, *rest, 2500, 2048, 0.1, 0.1) for file, labels, *rest in rows]
    write_csv(folder / "Data_Entry_2017_v2020.csv", NIH_HEADER, records)
    for seed, (file, *_) in enumerate(rows):
        Image.fromarray(chest(seed, size)).save(folder / "images" / file)
    if outliers:
        write_csv(folder / "cxr14_bad_labels.csv", ",Index,Inverted,Not frontal,Rotated", outliers)
    return folder


def draw_class_folders(folder: Path, classes: Mapping[str, int]) -> Path:
    """A folder of so many PNG and JPEG files for each class, which is the name of a folder or has one of a part."""
    for number, (inner, images) in enumerate(classes.items()):
        (folder / inner).mkdir(parents=True)
        for index in range(images):
            kind = ("jpeg", "png")[index % 2]
            Image.fromarray(chest(100 * number + index, 40)).save(folder / inner / f"{index:03}.{kind}")
    return folder


def draw_table(folder: Path, description: str, header: str, records: Sequence[Sequence[Any]]) -> Path:
    """A folder with a description, metadata.csv of these records, and a picture for each as its first field says."""
    folder.mkdir(parents=True)
    (folder / "source.toml").write_text(description)
    write_csv(folder / "metadata.csv", header, records)
    for seed, (file, *_) in enumerate(records):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chest(seed, 40)).save(folder / file)
    return folder


def nih_rows(count: int) -> list[NihRow]:
    """Rows that differ in every field; every second patient has two images in a row."""
    findings = ("No Finding", "Infiltration", "Effusion|Infiltration", "Nodule")
    return [
        (
            f"{index:08}_000.png",
            findings[index % 4],
            index * 2 // 3,
            f"{20 + 7 * index % 60}",
            "MF"[index // 2 % 2],
            ("PA", "AP")[index // 4 % 2],
        )
        for index in range(count)
    ]


def chest(seed: int, size: int) -> Any:
    """uint8 (size, size), something like a chest: bright with two dark ellipses and noise; no two seeds alike."""
    noise = np.random.default_rng(seed).normal(0, 8, (size, size))
    down, across = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    lungs = (down / 0.7) ** 2 + ((np.abs(across) - 0.45) / 0.3) ** 2 < 1
    return np.clip(np.where(lungs, 60, 190) + noise, 0, 255).astype(np.uint8)


def write_csv(path: Path, header: str, records: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="") as file:
        file.write(header + "\n")
        csv.writer(file).writerows(records)
