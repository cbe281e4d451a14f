import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from trainers import trainer_of
from worker.checkpoint import save_checkpoint
from worker.context import StopRequested
from worker.contract.errors import CheckpointMissing, InvalidRequest
from worker.contract.requests import GenerationRequest
from worker.contract.resources import Kind
from worker.contract.shards import SHARD_IMAGES, archive_name, array_name
from worker.models import registry
from worker.sampling import load_sampler
from worker.stages.generate import generate


@pytest.fixture
def training(tiny, job_context):
    """A training of a tiny family with a checkpoint at step 3 (of its untrained networks, which will do)."""
    return untrained(tiny, job_context)


@pytest.fixture
def labelled(tiny_labelled, job_context):
    """The same, of a family that has learnt the classes `rare` and `usual`."""
    return untrained(tiny_labelled, job_context)


def untrained(name, job_context):
    context = job_context(Kind.TRAINING.new_id())
    family = registry.family(name)
    chosen = family.configure("default", {})
    trainer = trainer_of(family, chosen)
    save_checkpoint(
        trainer.state(),
        context,
        keep=1,
        step=3,
        family=name,
        hyperparameters=chosen.model_dump(),
        image_size=8,
        dataset=Kind.DATASET.new_id(),
        dataset_sha256="ab" * 32,
        images_seen=6,
        seconds=1.0,
        classes=trainer.classes,
    )
    load_sampler.cache_clear()
    return context.resource_id


def draw(training, job_context, *, count, seed=7, labels=None, turns=1000, turn_seconds=1e9, stop_after=None):
    """Draw in as many turns as it takes; the images of all shards, the result, and the context."""
    request = GenerationRequest(training=training, checkpoint=3, count=count, seed=seed, labels=labels)
    context = job_context(Kind.GENERATION.new_id(), stop_after=stop_after)
    for _ in range(turns):
        if (result := generate(request, context, turn_seconds=turn_seconds)) is not None:
            break
    folder = context.store.folder(context.resource_id)
    shards = range(-(-count // SHARD_IMAGES))
    return np.concatenate([np.load(folder / array_name(shard)) for shard in shards]), result, context


def test_equal_seeds_draw_equal_images_whatever_the_count(training, job_context):
    many, *_ = draw(training, job_context, count=SHARD_IMAGES + 70)
    few, *_ = draw(training, job_context, count=3)
    other, *_ = draw(training, job_context, count=3, seed=8)
    assert many.shape == (SHARD_IMAGES + 70, 8, 8)
    assert np.array_equal(many[:3], few)
    assert not np.array_equal(few, other)


def test_turns_go_on_where_the_last_one_ended(training, job_context):
    at_once, *_ = draw(training, job_context, count=2 * SHARD_IMAGES + 1)
    in_turns, result, context = draw(training, job_context, count=2 * SHARD_IMAGES + 1, turn_seconds=1e-9)
    assert np.array_equal(at_once, in_turns)
    assert result.count == 2 * SHARD_IMAGES + 1
    assert [report.done for report in context.reporter.reports][-1] == 2 * SHARD_IMAGES + 1


def test_a_turn_draws_at_least_one_shard_then_gives_way(training, job_context):
    request = GenerationRequest(training=training, checkpoint=3, count=3 * SHARD_IMAGES)
    context = job_context(Kind.GENERATION.new_id())
    assert generate(request, context, turn_seconds=0.0) is None
    made = sorted(context.store.folder(context.resource_id).glob("shards/*.npy"))
    assert len(made) == 1


def test_every_picture_says_where_it_comes_from(training, job_context):
    images, result, context = draw(training, job_context, count=2)
    with zipfile.ZipFile(context.store.folder(context.resource_id) / archive_name(0)) as archive:
        pictures = [Image.open(archive.open(name)) for name in archive.namelist()]
        for index, picture in enumerate(pictures):
            assert np.array_equal(np.asarray(picture), images[index])
            assert picture.text == result.provenance | {"Index": str(index)}
    assert result.provenance == {
        "Synthetic": "true",
        "Software": "RaGAN",
        "Training": training,
        "Checkpoint": "3",
        "Seed": "7",
        "Precision": "float32",
        "Dataset-SHA-256": "ab" * 32,
    }


def test_images_take_the_labels_in_turn_and_say_so(labelled, job_context):
    def drawn(count, *labels):
        images, _, context = draw(labelled, job_context, count=count, labels=labels or None)
        with zipfile.ZipFile(context.store.folder(context.resource_id) / archive_name(0)) as archive:
            return images, [Image.open(archive.open(name)).text["Label"] for name in archive.namelist()]

    both, told = drawn(SHARD_IMAGES + 4)
    assert told == ["rare", "usual"] * (SHARD_IMAGES // 2)
    rare, told = drawn(4, "rare")
    assert told == ["rare"] * 4
    assert np.array_equal(both[:4:2], rare[::2])
    assert not np.array_equal(both[1:4:2], rare[1::2])
    usual, told = drawn(SHARD_IMAGES + 4, "usual", "usual", "rare")
    assert told[:4] == ["usual", "usual", "rare", "usual"]
    # The second shard goes on in the turn of the first: its last image is a usual one in either turn.
    assert np.array_equal(usual[-1], both[-1])
    assert not np.array_equal(usual[-2], both[-2])


def balance(draws, context, *, seed=7, turn_seconds=1e9):
    """What classes lack, as `{class: (training, count)}`, in as many turns as it takes; images, texts, the result."""
    trainings = {name: {"training": each, "checkpoint": 3, "count": count} for name, (each, count) in draws.items()}
    request = GenerationRequest(
        balance="ds_x", trainings=trainings, seed=seed, count=sum(count for _, count in draws.values())
    )
    while (result := generate(request, context, turn_seconds=turn_seconds)) is None:
        pass
    folder = context.store.folder(context.resource_id)
    shards = range(-(-request.count // SHARD_IMAGES))
    texts = []
    for shard in shards:
        with zipfile.ZipFile(folder / archive_name(shard)) as archive:
            texts += [Image.open(archive.open(name)).text for name in archive.namelist()]
    return np.concatenate([np.load(folder / array_name(shard)) for shard in shards]), texts, result


def test_each_class_is_drawn_by_its_own_training(training, labelled, job_context):
    sizes = {"Mass": SHARD_IMAGES - 6, "rare": 10, "usual": SHARD_IMAGES}
    draws = {"usual": (labelled, sizes["usual"]), "Mass": (training, sizes["Mass"]), "rare": (labelled, sizes["rare"])}
    images, texts, result = balance(draws, job_context(Kind.GENERATION.new_id()))
    in_order = [name for name, count in sizes.items() for _ in range(count)]
    assert [text["Label"] for text in texts] == in_order
    assert [text["Index"] for text in texts] == [str(index) for index in range(len(in_order))]
    assert [text["Training"] for text in texts] == [draws[name][0] for name in in_order]
    assert {"Training", "Index", "Label"}.isdisjoint(result.provenance)
    assert all(text.items() >= result.provenance.items() for text in texts)
    assert result.count == len(images) == len(in_order)
    # Image i is the one that its training draws as image i by itself.
    for name, (drawn_by, _) in draws.items():
        alone, *_ = draw(drawn_by, job_context, count=len(images), labels=None if name == "Mass" else [name])
        mine = [index for index, label in enumerate(in_order) if label == name]
        assert np.array_equal(images[mine], alone[mine])


def test_a_balanced_set_is_the_same_at_once_in_turns_and_in_whatever_order_it_is_asked_for(
    training, labelled, job_context
):
    draws = {"Mass": (training, SHARD_IMAGES + 1), "rare": (labelled, SHARD_IMAGES), "usual": (labelled, 3)}
    at_once, *_ = balance(draws, job_context(Kind.GENERATION.new_id()))
    turned = dict(reversed(draws.items()))
    in_turns, *_ = balance(turned, job_context(Kind.GENERATION.new_id()), turn_seconds=1e-9)
    other, *_ = balance(draws, job_context(Kind.GENERATION.new_id()), seed=8)
    assert np.array_equal(at_once, in_turns)
    assert not np.array_equal(at_once, other)


def test_equal_requests_make_equal_files(training, job_context):
    files = []
    for _ in range(2):
        _, _, context = draw(training, job_context, count=5)
        files.append((context.store.folder(context.resource_id) / archive_name(0)).read_bytes())
    assert files[0] == files[1]


def test_the_grid_shows_the_first_images(training, job_context):
    images, _, context = draw(training, job_context, count=70)
    grid = np.asarray(Image.open(context.store.folder(context.resource_id) / "grid.png"))
    assert grid.shape == (8 * 8 + 7 * 2,) * 2
    assert np.array_equal(grid[:8, :8], images[0])
    assert np.array_equal(grid[-8:, -8:], images[63])


def test_a_job_that_is_told_to_stop_keeps_whole_shards(training, job_context):
    with pytest.raises(StopRequested):
        draw(training, job_context, count=3 * SHARD_IMAGES, stop_after=1)


def test_memory_does_not_grow_with_the_count(training, job_context):
    def peak(count):
        tracemalloc.start()
        request = GenerationRequest(training=training, checkpoint=3, count=count)
        generate(request, job_context(Kind.GENERATION.new_id()), turn_seconds=1e9)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(SHARD_IMAGES)  # what is made only once
    assert peak(8 * SHARD_IMAGES) < 1.5 * peak(2 * SHARD_IMAGES)


def test_what_the_training_has_not_learnt_is_refused(labelled, job_context):
    with pytest.raises(InvalidRequest, match=r"no class 'rar'\. Did you mean 'rare'"):
        draw(labelled, job_context, count=2, labels=["usual", "rar"])


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"checkpoint": 4}, CheckpointMissing),
        ({"checkpoint": "latest"}, CheckpointMissing),
        ({"checkpoint": 3, "labels": ["Nodule"]}, InvalidRequest),
    ],
)
def test_what_cannot_be_drawn_is_refused(training, job_context, fields, error):
    with pytest.raises(error):
        generate(GenerationRequest(training=training, **fields), job_context(Kind.GENERATION.new_id()))
