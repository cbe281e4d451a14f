"""Strategies that damage sound files: cut, flip, splice, lie about sizes, and make soup of a PNG's chunks."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SIDE = 24
KINDS = (
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"pHYs", b"sBIT", b"bKGD"),
    *(b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"hIST", b"sPLT", b"acTL", b"fcTL", b"fdAT", b"prVt", b"ABCD"),
)
EXTREMES = (0, 1, 7, 255, 65_535, 2**31 - 1, 2**31, 2**32 - 1)


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """A chunk of a PNG, with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width: int, height: int, bits: int = 8, colour: int = 0, interlaced: int = 0) -> bytes:
    """The first chunk of a PNG."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced))


def png(*chunks: bytes) -> bytes:
    """A PNG of these chunks and its end."""
    return SIGNATURE + b"".join(chunks) + chunk(b"IEND")


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _pngs() -> list[bytes]:
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE + 3), np.uint8))
    notes = PngInfo()
    notes.add_text("Comment", "hello", zip=True)
    notes.add_itxt("Title", "Röntgen", "de", "Titel", zip=True)
    modes = ("L", "LA", "RGB", "RGBA", "P", "1")
    whole = [encoded(grey.convert(mode), pnginfo=notes, dpi=(96, 96)) for mode in modes]
    whole.append(encoded(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)))
    whole.append(encoded(grey, icc_profile=b"profile" * 9, transparency=7, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"))
    whole.append(encoded(grey, save_all=True, append_images=[grey.transpose(Image.Transpose.ROTATE_180)], loop=0))
    rows = zlib.compress(bytes(8 * SIDE * SIDE))
    whole.extend(png(header(SIDE, SIDE, 8, colour, 1), chunk(b"IDAT", rows)) for colour in (0, 2, 6))
    return whole


PNGS = _pngs()
"""One of each kind that Pillow writes, and some that are interlaced."""
JPEGS = [
    encoded(Image.new("L", (SIDE, SIDE), 90), "JPEG"),
    encoded(Image.new("RGB", (SIDE, SIDE)), "JPEG", progressive=True),
]

Damage = Callable[[st.DrawFn, bytes, Sequence[bytes]], bytes]


def _cut(draw: st.DrawFn, content: bytes, _: Sequence[bytes]) -> bytes:
    return content[: draw(st.integers(0, len(content)))]


def _drop(draw: st.DrawFn, content: bytes, _: Sequence[bytes]) -> bytes:
    start = draw(st.integers(0, len(content)))
    return content[:start] + content[start + draw(st.integers(1, 40)) :]


def _flip(draw: st.DrawFn, content: bytes, _: Sequence[bytes]) -> bytes:
    damaged = bytearray(content)
    for place in draw(st.lists(st.integers(0, max(len(content) - 1, 0)), max_size=8)):
        if damaged:
            damaged[place] ^= draw(st.integers(1, 255))
    return bytes(damaged)


def _splice(draw: st.DrawFn, content: bytes, others: Sequence[bytes]) -> bytes:
    other = draw(st.sampled_from(others))
    first, last, place = (draw(st.integers(0, len(each))) for each in (other, other, content))
    return content[:place] + other[min(first, last) : max(first, last)] + content[place:]


def _stuff(draw: st.DrawFn, content: bytes, _: Sequence[bytes]) -> bytes:
    place = draw(st.integers(0, len(content)))
    return content[:place] + draw(st.binary(max_size=60)) + content[place:]


def _lie(draw: st.DrawFn, content: bytes, _: Sequence[bytes]) -> bytes:
    """Another number of 32 bits, most often in the header or where a chunk tells its length."""
    lengths = [place for place, _ in _chunks(content)]
    place = draw(st.sampled_from([16, 20, *lengths]) | st.integers(0, len(content)))
    return content[:place] + struct.pack(">I", draw(st.sampled_from(EXTREMES))) + content[place + 4 :]


def _retouch(draw: st.DrawFn, content: bytes, _: Sequence[bytes]) -> bytes:
    """Other bits, colours and methods in the header."""
    return content[:24] + bytes(draw(st.integers(0, 17)) for _ in range(5)) + content[29:]


def _agree(_: st.DrawFn, content: bytes, __: Sequence[bytes]) -> bytes:
    """Checksums that fit, so that damage is not noticed by them."""
    fitting = bytearray(content)
    for place, length in _chunks(content):
        checksum = zlib.crc32(content[place + 4 : place + 8 + length])
        fitting[place + 8 + length : place + 12 + length] = struct.pack(">I", checksum)
    return bytes(fitting)


def _chunks(content: bytes) -> list[tuple[int, int]]:
    """Where each chunk of a PNG begins, and the length it tells, as far as they can be followed."""
    found, place = [], len(SIGNATURE)
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        if place + 12 + length > len(content):
            break
        found.append((place, length))
        place += 12 + length
    return found


ANYWHERE: tuple[Damage, ...] = (_cut, _drop, _flip, _splice, _stuff)
IN_A_PNG: tuple[Damage, ...] = (*ANYWHERE, _lie, _retouch)


@st.composite
def damaged(draw: st.DrawFn, whole: Sequence[bytes], damages: Sequence[Damage] = ANYWHERE) -> bytes:
    """One of these files after one to three kinds of damage."""
    content = draw(st.sampled_from(whole))
    for damage in draw(st.lists(st.sampled_from(damages), min_size=1, max_size=3)):
        content = damage(draw, content, whole)
    return content


@st.composite
def damaged_pngs(draw: st.DrawFn) -> bytes:
    """A PNG after damage, which its checksums do not always show."""
    content = draw(damaged(PNGS, IN_A_PNG))
    return _agree(draw, content, PNGS) if draw(st.booleans()) else content


@st.composite
def chunk_soups(draw: st.DrawFn) -> bytes:
    """A PNG of small size whose chunks are of all kinds, in any order, with anything in them."""
    kinds = ((0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 8), (4, 8), (4, 16), (6, 8), (6, 16))
    colour, bits = draw(st.sampled_from(kinds))
    sizes = st.integers(1, 9)
    first = header(draw(sizes), draw(sizes), bits, colour, draw(st.integers(0, 1)))
    pixels = chunk(b"IDAT", zlib.compress(bytes(draw(st.integers(0, 900)))))
    bodies = st.binary(max_size=40) | st.binary(max_size=20).map(lambda body: b"key\0\0" + zlib.compress(body))
    others = draw(st.lists(st.builds(chunk, st.sampled_from(KINDS), bodies), max_size=5))
    return png(first, *draw(st.permutations([pixels, *others])))


HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
FINDINGS = ("No Finding", "Effusion|Infiltration", "", "=1+1", "|", "@SUM(A1)|-2", "Nodule\tMass")
AGES = ("58", "058Y", "", "414", "-1", "٤٢", "9" * 5_000, "1e9")
PATIENTS = ("1", "-7", "1_0", str(2**62), "0")


def metadata(rows: int) -> str:
    """NIH's metadata, of rows that are odd and can be read."""
    odd = product(FINDINGS, AGES, PATIENTS)
    lines = (
        f"{index:08}_000.png,{findings},0,{patient},{age},{'MF'[index % 2]},{('PA', '+AP', '')[index % 3]}"
        for index, (findings, age, patient) in zip(range(rows), odd, strict=False)
    )
    return "\n".join((HEADER, *lines)) + "\n"


TABLES = [
    metadata(12).encode(encoding).replace(b",", delimiter)
    for encoding in ("utf-8", "utf-8-sig")
    for delimiter in (b",", b";", b"\t")
] + [metadata(3).encode("utf-16"), metadata(280).encode(), metadata(2).replace("\n", "\r\n").encode()]
