import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from worker.contract.errors import DiskFull, NotFound, StoreUnavailable
from worker.contract.resources import Kind, Manifest, RequestRecord, Status
from worker.contract.results import FamilyDescription
from worker.contract.store import Store, write_atomically

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def record(kind: Kind = Kind.DATASET, run: int = 1) -> RequestRecord:
    return RequestRecord(id=kind.new_id(), kind=kind, created_at=NOW, run=run, request={"source": "phantom"})


def test_a_request_comes_back_as_it_was_written(store):
    written = record()
    store.write_request(written)
    assert store.read_request(written.id) == written


def test_a_manifest_comes_back_as_it_was_written_and_is_none_before(store):
    request = record()
    store.write_request(request)
    assert store.read_manifest(request.id) is None
    manifest = Manifest(
        id=request.id,
        kind=request.kind,
        run=1,
        status=Status.SUCCEEDED,
        started_at=NOW,
        finished_at=NOW,
        attempt=1,
        progress=None,
        result={"images": 3},
        error=None,
        versions={"ragan": "1"},
    )
    store.write_manifest(manifest)
    assert store.read_manifest(request.id) == manifest


def test_what_was_never_asked_for_is_not_found(store):
    with pytest.raises(NotFound, match="GET /v1/trainings lists them"):
        store.read_request(Kind.TRAINING.new_id())


@pytest.mark.parametrize("identifier", ["../../etc/passwd", "ds_", "tr_../x", "xx_01k00000000000000000000000", "ds"])
def test_what_is_not_an_id_names_no_folder(store, identifier):
    with pytest.raises(NotFound):
        store.folder(identifier)


def test_ids_are_listed_newest_first(store):
    written = [record() for _ in range(5)]
    for each in written:
        store.write_request(each)
    assert store.ids(Kind.DATASET) == [each.id for each in reversed(written)]
    assert store.ids(Kind.TRAINING) == []


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path, monkeypatch):
    file = tmp_path / "request.json"
    write_atomically(file, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(file, b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["request.json"]
    assert file.read_bytes() == b"old"


def test_files_can_be_read_by_another_user_of_the_same_store(tmp_path):
    write_atomically(tmp_path / "a", b"x")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_publishing_moves_a_folder_whole_and_replaces_what_was_there(store):
    request = record(Kind.TRAINING)
    store.write_request(request)
    for content in ("first", "second"):
        with store.scratch(request.id) as scratch:
            made = scratch / "made"
            made.mkdir()
            (made / "state").write_text(content)
            store.publish(made, request.id, "checkpoints/00000010")
            assert not made.exists()
        assert not scratch.exists()
        assert (store.folder(request.id) / "checkpoints/00000010/state").read_text() == content


def test_a_deleted_resource_is_gone_with_its_files(store):
    request = record()
    store.write_request(request)
    store.publish_bytes(b"x", request.id, "items.csv")
    store.delete(request.id)
    assert store.ids(Kind.DATASET) == []
    assert not store.folder(request.id).exists()
    assert list((store.root / ".scratch").iterdir()) == []


def test_withdrawing_takes_back_one_artefact_and_is_content_if_it_is_gone(store):
    request = record()
    store.publish_bytes(b"x", request.id, "checkpoints/00000010/state")
    store.publish_bytes(b"x", request.id, "checkpoints/00000020/state")
    for _ in range(2):
        store.withdraw(request.id, "checkpoints/00000010")
    assert [each.name for each in (store.folder(request.id) / "checkpoints").iterdir()] == ["00000020"]


@pytest.mark.parametrize(
    "taken_away",
    [
        lambda store, resource_id: store.delete(resource_id),
        lambda store, resource_id: store.withdraw(resource_id, "items.csv"),
        lambda store, resource_id: store.drop_ballast(resource_id),
    ],
    ids=["delete", "withdraw", "drop_ballast"],
)
def test_a_disk_that_does_not_work_is_told_when_something_is_taken_away(store, taken_away):
    request = record()
    store.publish_bytes(b"x", request.id, "items.csv")
    (store.root / ".scratch").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="could not be read or written"):
        taken_away(store, request.id)
    assert (store.folder(request.id) / "items.csv").read_bytes() == b"x"


def test_families_are_published_by_name(store):
    description = FamilyDescription(
        family="tiny",
        title="Tiny",
        reference="none",
        image_sizes=(16,),
        takes_labels=False,
        parameters={"generator": 1},
        presets={"default": {}},
        hyperparameters={},
        published_at=NOW,
    )
    assert store.families() == {}
    store.publish_family(description)
    assert store.families() == {"tiny": description}


def test_a_store_that_cannot_be_written_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="RAGAN_STORE"):
        Store(tmp_path / "file").check()


def test_who_must_not_change_anything_any_more_changes_nothing(store, tmp_path):
    allowed = [True]

    def allow() -> None:
        if not allowed[0]:
            raise PermissionError("another process has the job")

    fenced, request = Store(store.root, allow), record()
    fenced.write_request(request)
    fenced.publish_bytes(b"first", request.id, "kept.txt")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "part").write_bytes(b"second")

    allowed[0] = False
    changes = [
        lambda: fenced.publish_bytes(b"second", request.id, "kept.txt"),
        lambda: fenced.publish(tmp_path / "made", request.id, "checkpoint"),
        lambda: fenced.withdraw(request.id, "kept.txt"),
        lambda: fenced.delete(request.id),
        lambda: fenced.write_request(request),
    ]
    for change in changes:
        with pytest.raises(PermissionError):
            change()
    folder = store.folder(request.id)
    assert (folder / "kept.txt").read_bytes() == b"first"
    assert sorted(path.name for path in folder.iterdir()) == ["kept.txt", "request.json"]


def test_what_is_published_once_stays_as_it_was(store):
    made = record()
    store.write_request(made)
    assert store.publish_once(b"first", made.id, "readers/ada/0.json")
    assert not store.publish_once(b"second", made.id, "readers/ada/0.json")
    folder = store.folder(made.id) / "readers" / "ada"
    assert [(file.name, file.read_bytes()) for file in folder.iterdir()] == [("0.json", b"first")]


def test_of_many_who_publish_once_at_once_one_does(store):
    made = record()
    store.write_request(made)
    with ThreadPoolExecutor(8) as threads:
        written = list(threads.map(lambda each: store.publish_once(b"%d" % each, made.id, "answers/0.json"), range(40)))
    assert written.count(True) == 1
    assert (store.folder(made.id) / "answers" / "0.json").read_bytes() == b"%d" % written.index(True)


def test_nothing_is_published_once_below_what_was_deleted(store):
    made = record()
    store.write_request(made)
    store.delete(made.id)
    with pytest.raises(NotFound, match="was deleted"):
        store.publish_once(b"x", made.id, "readers/ada/0.json")
    assert not store.folder(made.id).exists()


def test_a_disk_that_takes_nothing_is_told_of_what_is_published_once(store, monkeypatch):
    made = record()
    store.write_request(made)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("worker.contract.store.os.fsync", full)
    with pytest.raises(DiskFull):
        store.publish_once(b"x", made.id, "readers/0.json")
    assert list((store.folder(made.id) / "readers").iterdir()) == []
