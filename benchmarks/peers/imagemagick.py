"""ImageMagick as a contender of the preparation benchmark: its `mogrify`, as one would type it, and at its best."""

import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

MOGRIFY = shutil.which("mogrify")
ADVICE = "ImageMagick is not installed, so it is left out: apt-get install imagemagick."
AS_TYPED = ("-resize",)
"""Its default filter, which looks at more pixels than it has to for so small a picture."""
AT_ITS_BEST = ("-strip", "-define", "png:compression-level=1", "-scale")
"""The mean of the area each pixel covers, as RaGAN computes it, and as little as possible besides."""


def version() -> str:
    """As in `6.9.11-60`; ImageMagick must be there."""
    told = subprocess.run([str(MOGRIFY), "-version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"ImageMagick (\S+)", told)
    return found[1] if found else "unknown"


def mogrify(pictures: Sequence[Path], size: int, into: Path, options: Sequence[str], processes: int) -> float:
    """Seconds to reduce pictures to PNG files of `size` pixels on a side in a new folder, by so many processes.

    A single process takes the threads that it takes by itself, several have one each.
    """
    into.mkdir()
    threads = ("-limit", "thread", "1") if processes > 1 else ()
    command = [str(MOGRIFY), "-path", str(into), *threads, *options, f"{size}x{size}"]
    began = time.perf_counter()
    running = [subprocess.Popen([*command, *map(str, pictures[share::processes])]) for share in range(processes)]
    failed = [process.args for process in running if process.wait()]
    seconds = time.perf_counter() - began
    made = sum(1 for _ in into.iterdir())
    shutil.rmtree(into)
    if failed or made != len(pictures):
        raise RuntimeError(f"ImageMagick made {made} of {len(pictures)} pictures: its own message says why.")
    return seconds
