"""`ragan demo` and `ragan up` as a person runs them: a program, its output, its end."""

import os
import signal
import subprocess
import sys
import zipfile

import httpx
import pytest
from PIL import Image

from drawn import draw_nih_folder, nih_rows

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

RAGAN = [sys.executable, "-m", "app"]


def test_the_demo_leaves_pictures_of_each_step(tmp_path):
    folder = draw_nih_folder(tmp_path / "my-images", nih_rows(12))
    output = tmp_path / "demo"
    done = subprocess.run(
        [*RAGAN, "demo", "--source", folder, "--output", output, "--steps", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("real.png", "time-lapse.gif", "losses.png", "synthetic.png", "synthetic.zip"):
        assert (output / name).exists()
        assert str(output / name) in done.stderr
    with Image.open(output / "time-lapse.gif") as time_lapse, Image.open(output / "synthetic.png") as grid:
        assert time_lapse.n_frames == 2
        assert grid.size == ((8 * 28 + 7 * 2) * 4,) * 2
    with zipfile.ZipFile(output / "synthetic.zip") as archive:
        assert sum(name.endswith(".png") for name in archive.namelist()) == 64


def test_up_says_when_it_is_ready_and_stops_cleanly(tmp_path):
    environment = os.environ | {"RAGAN_STORE": str(tmp_path / "store"), "RAGAN_SOURCES": str(tmp_path)}
    environment.pop("REDIS_URL", None)
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [*RAGAN, "up", "--port", "0"], env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        ) as up,
    ):
        line = up.stdout.readline()
        assert line.startswith("RaGAN is ready at http://127.0.0.1:")
        url = line.split()[-1]
        assert httpx.get(f"{url}/readyz").json()["status"] == "ok"
        up.send_signal(signal.SIGTERM)
        assert up.wait() == 0
        assert up.stdout.read() == ""
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")
    assert "Traceback" not in (tmp_path / "log").read_text()
