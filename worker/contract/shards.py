"""How the images of a generation lie in the store: shards of equal size, each an array and an archive of PNG files."""

SHARD_IMAGES = 256
"""Images per shard; the last one has what is left."""


def array_name(shard: int) -> str:
    """Pixels of a shard: uint8 of shape (images, height, width), in numpy's own format."""
    return f"shards/{shard:06d}.npy"


def archive_name(shard: int) -> str:
    """A shard's PNG files, in an uncompressed ZIP."""
    return f"shards/{shard:06d}.zip"


def image_name(index: int) -> str:
    """An image's name in every archive."""
    return f"{index:06d}.png"
