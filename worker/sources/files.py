"""The one way to open a file of a source: a plain file, and within the source's folder."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from worker.contract.errors import RaganError

# Opening a pipe would wait for its writer. And the path is resolved: a link at its end was put there since.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW


def open_plain(path: Path, *, within: Path | None, refusal: type[RaganError]) -> BinaryIO:
    """Open a file to read its bytes.

    Links may lead anywhere within the folder and not out of it, for collections are unpacked from archives that others
    made. The folder itself may be a link: whoever runs the service has put it there.

    Raises:
        refusal: a link leads out of the folder `within`, or there is a folder, a pipe or a device instead of a file.
        OSError: there is nothing, or it cannot be opened.
    """
    check_within(path, within, refusal)
    descriptor = os.open(os.path.realpath(path), _FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise refusal(f"The file {path.name} is none, but a folder, a pipe or a device: put the file in its place.")
    return os.fdopen(descriptor, "rb")


def check_within(path: Path, folder: Path | None, refusal: type[RaganError]) -> None:
    """Raise `refusal` if links lead a path out of a folder, if there is one that it has to stay in."""
    # Unlike Path.resolve, realpath has no opinion of links that lead in circles: opening them is an OSError.
    if folder is not None and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise refusal(
            f"The file {path.name} leads out of the folder of its source: copy or mount there what it links to."
        )
