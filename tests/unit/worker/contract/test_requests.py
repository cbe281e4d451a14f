import pytest
from pydantic import ValidationError

from worker.contract.requests import (
    AgeRange,
    ClassChoice,
    DatasetRequest,
    EvaluationRequest,
    GenerationRequest,
    Split,
    TrainingRequest,
    Where,
)
from worker.contract.study_requests import StudyClassifier, StudyRequest


def test_a_dataset_request_needs_only_a_source_and_shows_every_default():
    assert DatasetRequest(source="phantom").model_dump(mode="json") == {
        "source": "phantom",
        "where": {"labels": [], "label_match": "exact", "view": [], "sex": [], "age": {"min": None, "max": None}},
        "exclude": ["inverted", "not_frontal", "rotated"],
        "image_size": 64,
        "fit": "pad",
        "limit": None,
        "split": {"train": 0.8, "validation": 0.1, "test": 0.1},
        "seed": 0,
    }


def test_a_training_request_needs_only_a_dataset_and_shows_every_default():
    assert TrainingRequest(dataset="ds_x").model_dump(mode="json") == {
        "dataset": "ds_x",
        "model": {"family": "minuscule28", "preset": "default", "hyperparameters": {}},
        "steps": 2000,
        "batch_size": 256,
        "devices": "all",
        "precision": "auto",
        "seed": 0,
        "snapshot_every": 10,
        "checkpoint_every": 200,
        "keep_checkpoints": 3,
        "evaluate_every": None,
        "evaluate_metrics": ["frechet_distance"],
        "classical_augmentation": None,
        "classes": None,
    }


def test_the_classifier_of_a_study_is_that_of_the_paper():
    from worker.classifier import PAPER

    asked = StudyClassifier().model_dump()
    assert asked == {name: getattr(PAPER, name) for name in asked}


@pytest.mark.parametrize(
    ("model", "fields", "sentence"),
    [
        (StudyRequest, {"dataset": "ds_x", "arms": ["unreal"]}, "'real_oversampled'"),
        (StudyRequest, {"dataset": "ds_x", "arms": ["synthetic", "synthetic"]}, "named twice"),
        (StudyRequest, {"dataset": "ds_x", "amounts": [0, 5, 5]}, "5 follows 5: name the numbers in rising order"),
        (StudyRequest, {"dataset": "ds_x", "amounts": [0]}, "nothing but 0, and real_synthetic"),
        (StudyRequest, {"dataset": "ds_x", "folds": 2}, "greater than or equal to 3"),
        (AgeRange, {"min": 70, "max": 20}, r"min \(70\) is above max \(20\)"),
        (Split, {"train": 0.5, "test": 0.1}, "add up to 0.6"),
        (Split, {"train": 0.0, "test": 1.0}, "greater than 0"),
        (Where, {"lables": ["Nodule"]}, "Extra inputs"),
        (TrainingRequest, {"dataset": "ds_x", "batch_size": 10, "devices": 4}, "take a multiple of 4"),
        (TrainingRequest, {"dataset": "ds_x", "devices": 0}, "ask for 1 or more"),
        (TrainingRequest, {"dataset": "ds_x", "precision": "float8"}, "bfloat16"),
        (TrainingRequest, {"dataset": "ds_x", "evaluate_every": 0}, "greater than or equal to 1"),
        (TrainingRequest, {"dataset": "ds_x", "evaluate_metrics": []}, "at least 1 item"),
        (TrainingRequest, {"dataset": "ds_x", "evaluate_metrics": ["diversity"]}, "'frechet_distance'"),
        (
            TrainingRequest,
            {"dataset": "ds_x", "evaluate_metrics": ["recall"]},
            "name a distance first, one of",
        ),
        (TrainingRequest, {"dataset": "ds_x", "evaluate_metrics": ["kernel_distance"] * 2}, "named twice"),
        (ClassChoice, {"only": ["Mass", "Nodule", "Mass"]}, "names 'Mass' more than once"),
        (ClassChoice, {"only": []}, "at least 1 item"),
        (ClassChoice, {"by": "patient"}, "age_decade"),
        (GenerationRequest, {"training": "tr_x", "labels": []}, "at least 1 item"),
        (GenerationRequest, {"training": "tr_x", "checkpoint": "newest"}, "'latest' or 'best'"),
        (EvaluationRequest, {"training": "tr_x", "checkpoint": "newest"}, "'latest' or 'best'"),
        (GenerationRequest, {"training": "tr_x", "count": 0}, "greater than or equal to 1"),
        (GenerationRequest, {}, "either training names what draws all images, or balance"),
        (GenerationRequest, {"training": "tr_x", "balance": "ds_x", "trainings": {"a": "tr_x"}}, "name one of them"),
        (GenerationRequest, {"training": "tr_x", "trainings": {"a": "tr_x"}}, "trainings and by go with balance"),
        (GenerationRequest, {"training": "tr_x", "by": "view"}, "trainings and by go with balance"),
        (GenerationRequest, {"balance": "ds_x"}, "name a training for each class"),
        (
            GenerationRequest,
            {"balance": "ds_x", "trainings": {"a": "tr_x"}, "labels": ["a"]},
            "labels goes with training",
        ),
        (GenerationRequest, {"balance": "ds_x", "trainings": {"a": "tr_x"}, "count": 5}, "count goes with training"),
        (GenerationRequest, {"balance": "ds_x", "trainings": {"a": {"training": "tr_x", "count": 0}}}, "equal to 1"),
        (DatasetRequest, {"source": ""}, "at least 1 character"),
        (DatasetRequest, {"source": "phantom", "limit": 10_000_001}, "less than or equal to 10000000"),
        (TrainingRequest, {"dataset": "ds_x", "snapshot_every": 10_000_001}, "less than or equal to 10000000"),
        (TrainingRequest, {"dataset": "ds_x", "checkpoint_every": 10_000_001}, "less than or equal to 10000000"),
    ],
)
def test_what_is_impossible_is_refused_with_a_sentence(model, fields, sentence):
    with pytest.raises(ValidationError, match=sentence):
        model(**fields)


def test_parts_of_a_split_that_are_not_named_are_empty():
    assert Split(train=0.7, test=0.3) == Split(train=0.7, validation=0.0, test=0.3)
    assert Split().validation == 0.1


@pytest.mark.parametrize("model", [DatasetRequest, TrainingRequest, GenerationRequest])
def test_every_example_of_the_documentation_is_valid(model):
    for example in model.model_config["json_schema_extra"]["examples"]:
        assert model.model_validate(example)


@pytest.mark.parametrize("model", [GenerationRequest, EvaluationRequest])
@pytest.mark.parametrize("checkpoint", ["latest", "best", 0, 200])
def test_a_checkpoint_is_a_step_or_a_word_for_one(model, checkpoint):
    assert model(training="tr_x", checkpoint=checkpoint).checkpoint == checkpoint
