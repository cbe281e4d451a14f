"""Files of the two formats that public collections come in, PNG and JPEG, told apart by what is in them.

Names tell little: many a file is called `.png` and is a JPEG.
"""

import io
import os
from dataclasses import dataclass
from pathlib import Path

from worker.contract.errors import ImageUnreadable
from worker.sources.base import GreyImage
from worker.sources.files import open_plain
from worker.sources.pixels import PngFile, decode_any

SUFFIXES = (".png", ".jpg", ".jpeg")
"""By which files are taken for images where no table names them, in lower case."""
MAX_JPEG_BYTES = 2**28

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG"
"""How files begin."""
_START_OF_SCAN = b"\xff\xda"
"""Within compressed pixels, no such byte follows 255."""


@dataclass(frozen=True)
class ImageFile:
    """The way to a picture in a PNG or JPEG file, which links may not lead out of the folder `within`."""

    path: Path
    within: Path

    def read(self) -> GreyImage:
        """Decode by the rule of `worker.sources.pixels`.

        Raises:
            ImageUnreadable: the file is absent, elsewhere, empty, truncated, of another format, or too large.
        """
        try:
            with open_plain(self.path, within=self.within, refusal=ImageUnreadable) as file:
                head = file.read(len(_PNG))
                if head.startswith(_JPEG):
                    if (length := os.fstat(file.fileno()).st_size) > MAX_JPEG_BYTES:
                        raise ImageUnreadable(f"The file has {length:,} bytes, above the limit of {MAX_JPEG_BYTES:,}.")
                    content = head + file.read(MAX_JPEG_BYTES)
                    return decode_any(io.BytesIO(content), "JPEG", passes=content.count(_START_OF_SCAN))
        except FileNotFoundError as error:
            raise ImageUnreadable("The file is absent.") from error
        except OSError as error:
            raise ImageUnreadable(f"The file cannot be read ({error.strerror}).") from error
        if head and head != _PNG:
            raise ImageUnreadable("The file is neither a PNG nor a JPEG image: convert it to one.")
        return PngFile(self.path, self.within).read()


def is_image_name(name: str) -> bool:
    """Whether a file goes by its name for an image: not a hidden one, as macOS leaves them in archives."""
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)
