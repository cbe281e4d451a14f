"""The README's walk, done as it is written, with curl and from Python. `test_docs` reads its command lines."""

import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from app.stack import Stack
from documents import README
from drawn import NihRow, draw_nih_folder

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

WALK = "Five minutes on NIH data"
OTHERWISE = "The same in a shell, and in Python"
SELECTED = 10
SMALLER = ((r"(steps\W+)400\b", r"\g<1>2"), (r"(width\W+)0\.5\b", r"\g<1>0.05"))
"""Fewer steps and narrower networks than the README's: how well they learn is not looked at here."""


def smaller(text: str) -> str:
    for written, here in SMALLER:
        text, replaced = re.subn(written, here, text)
        assert replaced == 1, f"the README has no {written} any more"
    return text


@pytest.fixture(scope="module")
def nih_source(service: Stack) -> str:
    """The source that the README names, with SELECTED images that its selection takes."""
    selected: list[NihRow] = [
        (f"{index:08}_000.png", "Infiltration", index, f"{20 + 5 * index}", "M", "AP") for index in range(SELECTED)
    ]
    other: list[NihRow] = [
        ("00000100_000.png", "Infiltration", 100, "71", "M", "AP"),
        ("00000101_000.png", "Effusion|Infiltration", 101, "40", "M", "AP"),
        ("00000102_000.png", "Infiltration", 102, "40", "M", "PA"),
    ]
    draw_nih_folder(service._settings.sources / "nih-cxr14", [*selected, *other])
    return "nih-cxr14"


def test_with_curl(service: Stack, nih_source: str, tmp_path: Path) -> None:
    if not (shutil.which("curl") and shutil.which("bash")):
        pytest.skip("needs curl and bash, as the README's walk does")
    start, *steps = README.blocks("sh", WALK)
    assert start.text.strip() == "ragan up"
    script = smaller("".join(block.text for block in steps)).replace("http://127.0.0.1:8000", service.url)
    walk = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert walk.returncode == 0, walk.stderr + walk.stdout
    assert f'"images": {SELECTED}' in walk.stdout
    assert walk.stdout.count('event: end\ndata: {"status": "succeeded"}') == 3
    with Image.open(tmp_path / "real.png") as real, Image.open(tmp_path / "synthetic.png") as synthetic:
        assert (real.mode, synthetic.mode) == ("L", "L")
    with Image.open(tmp_path / "time-lapse.gif") as time_lapse:
        assert getattr(time_lapse, "n_frames", 1) == 2
    with zipfile.ZipFile(tmp_path / "synthetic.zip") as archive:
        assert len(archive.namelist()) == 64 + len(["labels.csv", "manifest.json"])
        with Image.open(io.BytesIO(archive.read("000063.png"))) as picture:
            assert (picture.mode, picture.size) == ("L", (28, 28))


def test_from_python(service: Stack, nih_source: str) -> None:
    (block,) = README.blocks("python", OTHERWISE)
    program = smaller(block.text) + "print(images.dtype, images.shape)\n"
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"RAGAN_URL": service.url},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "uint8 (64, 28, 28)\n"
