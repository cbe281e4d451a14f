"""The store: one folder per resource, everything in it written whole or not at all.

<root>/datasets/<id>/      request.json  manifest.json  images.npy  items.csv  contact-sheet.png
<root>/trainings/<id>/     request.json  manifest.json  metrics.jsonl  events.jsonl  snapshots/  checkpoints/
<root>/generations/<id>/   request.json  manifest.json  shards/  grid.png
<root>/evaluations/<id>/   request.json  manifest.json  grid.png  nearest.png
<root>/reader-studies/<id>/   request.json  manifest.json  images.npy  truth.json
    readers/<reader>/      reader.json  answers/<place>.json
<root>/studies/<id>/       request.json  manifest.json  folds.npz  generators/  cells/  tables/  curve.png  curve.svg
<root>/families/<name>.json
<root>/idempotency/<day>/  what was made under an Idempotency-Key, by the key's digest; kept to the end of the next day
<root>/.scratch/           what is being made, published by a rename
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from worker.contract.errors import NotFound, StoreUnavailable
from worker.contract.resources import Kind, Manifest, RequestRecord
from worker.contract.results import FamilyDescription
from worker.contract.space import trouble

BALLAST_BYTES = 65_536
"""Kept aside while a job works: with it gone, there is room to write down that the disk was full."""


def write_atomically(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write, flush to disk, then rename: a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path, content, mode) as temporary:
        temporary.replace(path)
    _flush_folder(path.parent)


def write_once(path: Path, content: bytes, mode: int = 0o644) -> None:
    """The same for a file that never changes, in a folder that is there; FileExistsError if there is one already."""
    with _beside(path, content, mode) as temporary:
        path.hardlink_to(temporary)
    _flush_folder(path.parent)


@contextmanager
def _beside(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """A file with this content in the folder of `path`, flushed to disk; gone afterwards, unless it was renamed."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner may read; the front end may run as another user.
        temporary.chmod(mode)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class KeyedResource(BaseModel):
    """What was made under an Idempotency-Key, and by which request."""

    model_config = ConfigDict(frozen=True)

    id: str
    request_sha256: str


class Store:
    """The one way in which artefacts are written and found. `root` is made if it can be.

    `allow_change` is asked right before each change, and raises if whoever writes must not any more.
    """

    def __init__(self, root: Path, allow_change: Callable[[], object] = lambda: None) -> None:
        self.root = root.absolute()
        self._allow_change = allow_change

    def check(self) -> None:
        """StoreUnavailable if nothing can be written here."""
        try:
            self._scratch_root().mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._scratch_root()):
                pass
        except OSError as error:
            raise StoreUnavailable(
                f"The store {self.root} cannot be written ({error.strerror}): "
                "mount it, or point RAGAN_STORE at a folder this user may write."
            ) from error

    def folder(self, resource_id: str) -> Path:
        """Where a resource's artefacts are; NotFound for what is not an id."""
        return self.root / Kind.of(resource_id).collection / resource_id

    def write_request(self, record: RequestRecord) -> None:
        self._write_record(self.folder(record.id) / "request.json", record)

    def has(self, resource_id: str) -> bool:
        """Whether such a resource was asked for, and was not deleted."""
        return (self.folder(resource_id) / "request.json").exists()

    def read_request(self, resource_id: str) -> RequestRecord:
        """NotFound if no such resource was ever asked for, or it was deleted."""
        try:
            return RequestRecord.model_validate_json((self.folder(resource_id) / "request.json").read_bytes())
        except FileNotFoundError as error:
            kind = Kind.of(resource_id)
            raise NotFound(f"There is no {kind.noun} {resource_id}; GET /v1/{kind.collection} lists them.") from error

    def write_manifest(self, manifest: Manifest) -> None:
        self._write_record(self.folder(manifest.id) / "manifest.json", manifest)

    def read_manifest(self, resource_id: str) -> Manifest | None:
        """The record of how the last finished run ended, None while the first has not ended."""
        try:
            return Manifest.model_validate_json((self.folder(resource_id) / "manifest.json").read_bytes())
        except FileNotFoundError:
            return None

    def ids(self, kind: Kind) -> list[str]:
        """Every resource of a kind, newest first."""
        folder = self.root / kind.collection
        if not folder.is_dir():
            return []
        return sorted((entry.name for entry in folder.iterdir() if entry.name.startswith(kind.prefix)), reverse=True)

    @contextmanager
    def scratch(self, resource_id: str) -> Iterator[Path]:
        """A folder of one's own to work in, gone afterwards; what should stay is published from it.

        Beside it, some room is kept aside for the record of how the work ended, over all of its turns and attempts,
        until `drop_ballast`.

        StoreUnavailable if there is no room for it, or the disk does not work.
        """
        try:
            self._scratch_root().mkdir(parents=True, exist_ok=True)
            if not self.has_ballast(resource_id):
                self._write(self._ballast(resource_id), bytes(BALLAST_BYTES))
            folder = Path(tempfile.mkdtemp(dir=self._scratch_root(), prefix=f"{resource_id}."))
        except OSError as error:
            raise trouble(self.root, error, BALLAST_BYTES) from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def has_ballast(self, resource_id: str) -> bool:
        """Whether there is room that was kept aside for the record of how the work on a resource ended."""
        return self._ballast(resource_id).exists()

    def drop_ballast(self, resource_id: str) -> None:
        """Give that room free, right before the record is written; StoreUnavailable if the disk does not work."""
        try:
            self._ballast(resource_id).unlink(missing_ok=True)
        except OSError as error:
            raise trouble(self.root, error, 0) from error

    def publish(self, made: Path, resource_id: str, name: str) -> Path:
        """Move a finished file or folder from scratch to `name` below the resource; a file replaces its predecessor."""
        target = self.folder(resource_id) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        for file in [made, *made.rglob("*")] if made.is_dir() else [made]:
            if file.is_file():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        self._allow_change()
        if target.is_dir():
            self._discard(target)
        made.replace(target)
        _flush_folder(target.parent)
        return target

    def publish_bytes(self, content: bytes, resource_id: str, name: str) -> Path:
        """Write a small artefact whole; StoreUnavailable if the disk is full, or does not work."""
        target = self.folder(resource_id) / name
        self._write(target, content)
        return target

    def publish_once(self, content: bytes, resource_id: str, name: str) -> bool:
        """Write a small artefact whole, and never another one over it: of several who do so at once, one succeeds.

        Returns:
            Whether this call has written it; False if there is one already.

        Raises:
            NotFound: the resource was deleted.
            StoreUnavailable: the disk is full, or does not work.
        """
        folder = self.folder(resource_id)
        self._allow_change()
        try:
            # Not that of the resource, too: it would be left behind, were the resource deleted just now.
            for below in reversed(Path(name).parents[:-1]):
                (folder / below).mkdir(exist_ok=True)
            write_once(folder / name, content)
        except FileExistsError:
            return False
        except FileNotFoundError as error:
            raise NotFound(f"{resource_id} was deleted.") from error
        except OSError as error:
            raise trouble(self.root, error, len(content)) from error
        return True

    def withdraw(self, resource_id: str, name: str) -> None:
        """Take one artefact back, at once for every reader; StoreUnavailable if the disk does not work."""
        target = self.folder(resource_id) / name
        if target.exists():
            self._discard(target)

    def delete(self, resource_id: str) -> None:
        """Remove a resource and its files: gone for every reader at once, whatever time the files take.

        FileNotFoundError if it is gone already, StoreUnavailable if the disk does not work.
        """
        self._discard(self.folder(resource_id))

    def publish_family(self, description: FamilyDescription) -> None:
        self._write_record(self.root / "families" / f"{description.family}.json", description)

    def families(self) -> dict[str, FamilyDescription]:
        """What workers have published, by name."""
        found = sorted((self.root / "families").glob("[!.]*.json"))
        return {file.stem: FamilyDescription.model_validate_json(file.read_bytes()) for file in found}

    def write_keyed(self, key_sha256: str, made: KeyedResource, today: date) -> None:
        """Remember what is made under a key, and forget the keys from before yesterday."""
        self._write_record(self._keyed_folder() / today.isoformat() / f"{key_sha256}.json", made)
        yesterday = (today - timedelta(days=1)).isoformat()
        for day in self._keyed_folder().iterdir():
            if day.name < yesterday:
                with suppress(FileNotFoundError):  # another front end was faster
                    self._discard(day)

    def read_keyed(self, key_sha256: str) -> KeyedResource | None:
        """What was last made under a key, None if that was long ago or never."""
        for record in sorted(self._keyed_folder().glob(f"*/{key_sha256}.json"), reverse=True):
            with suppress(FileNotFoundError):  # forgotten since it was found
                return KeyedResource.model_validate_json(record.read_bytes())
        return None

    def _keyed_folder(self) -> Path:
        return self.root / "idempotency"

    def _discard(self, path: Path) -> None:
        self._allow_change()
        try:
            self._scratch_root().mkdir(parents=True, exist_ok=True)
            grave = Path(tempfile.mkdtemp(dir=self._scratch_root(), prefix="discarded."))
            path.replace(grave / path.name)
            shutil.rmtree(grave)
        except FileNotFoundError:  # another process was faster, which is for the caller to judge
            raise
        except OSError as error:
            raise trouble(self.root, error, 0) from error

    def _ballast(self, resource_id: str) -> Path:
        return self._scratch_root() / f"{resource_id}.ballast"

    def _scratch_root(self) -> Path:
        return self.root / ".scratch"

    def _write_record(self, path: Path, record: BaseModel) -> None:
        self._write(path, record.model_dump_json(indent=2).encode())

    def _write(self, path: Path, content: bytes) -> None:
        self._allow_change()
        try:
            write_atomically(path, content)
        except OSError as error:
            raise trouble(self.root, error, len(content)) from error
