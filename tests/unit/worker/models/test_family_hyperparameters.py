from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from worker.contract.errors import InvalidRequest
from worker.models.base import CommonHyperparameters
from worker.models.registry import discover

FAMILIES = list(discover().values())
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
BAD = {
    "d_steps": 0,
    "loss": "wasserstein",
    "label_smoothing": 0.6,
    "diff_augment": ["cutout", "cutout"],
    "spectral_norm": "sometimes",
    "r1_weight": -1,
    "r1_every": 0,
    "optimizer": "sgd",
    "learning_rate_d": 0,
    "learning_rate_g": -1e-4,
    "dropout": 1.0,
    "width": 0,
    "ema_decay": 1.0,
    "momentum": 0.9,
}

any_hyperparameters = st.fixed_dictionaries(
    {},
    optional={
        "d_steps": st.integers(1, 10),
        "label_smoothing": st.floats(0, 0.5),
        "optimizer": st.sampled_from(["rmsprop", "adam"]),
        "learning_rate_d": st.floats(0, 1, exclude_min=True),
        "learning_rate_g": st.floats(0, 1, exclude_min=True),
        "dropout": st.floats(0, 0.9),
        "width": st.floats(0, 4, exclude_min=True),
        "ema_decay": st.floats(0, 1, exclude_max=True),
        "loss": st.sampled_from(["bce", "lsgan"]),
        "diff_augment": st.lists(st.sampled_from(["brightness", "contrast", "translation", "cutout"]), unique=True),
        "spectral_norm": st.booleans(),
        "r1_weight": st.floats(0, 1000),
        "r1_every": st.integers(1, 1000),
    },
)


@every_family
def test_the_presets_are_the_measured_recipe_and_that_of_2018(family: Any) -> None:
    common = {"d_steps": 1, "label_smoothing": 0, "optimizer": "rmsprop", "width": 1}
    common |= {"loss": "bce", "diff_augment": (), "spectral_norm": False, "r1_weight": 0, "r1_every": 16}
    measured = {"learning_rate_d": 4e-4, "learning_rate_g": 2e-4, "dropout": 0, "ema_decay": 0.99}
    dropout = 0.4 if family.image_size == 28 else 0.2
    of_2018 = {"learning_rate_d": 2e-4, "learning_rate_g": 1e-4, "dropout": dropout, "ema_decay": 0}
    assert family.presets["default"].model_dump() == common | measured
    assert family.presets["reference"].model_dump() == common | of_2018
    assert family.hyperparameters() == family.presets["default"]


@every_family
@given(chosen=any_hyperparameters)
def test_what_is_within_bounds_passes_the_schema_and_comes_back_from_json(family: Any, chosen: dict[str, Any]) -> None:
    configured = family.configure("reference", chosen)
    expected = family.presets["reference"].model_dump(mode="json") | chosen
    assert configured.model_dump(mode="json") == expected
    assert family.hyperparameters.model_validate_json(configured.model_dump_json()) == configured
    Draft202012Validator(family.hyperparameters.model_json_schema()).validate(configured.model_dump(mode="json"))


@every_family
@pytest.mark.parametrize(("name", "value"), BAD.items())
def test_a_bad_value_fails_the_schema_and_is_pointed_at(family: Any, name: str, value: Any) -> None:
    assert not Draft202012Validator(family.hyperparameters.model_json_schema()).is_valid({name: value})
    with pytest.raises(InvalidRequest, match=name) as caught:
        family.configure("default", {name: value})
    assert [error.pointer for error in caught.value.errors] == [f"#/model/hyperparameters/{name}"]


@every_family
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_loss_without_a_target_has_none_to_smooth(family: Any, smoothing: float) -> None:
    chosen = {"loss": "hinge", "label_smoothing": smoothing}
    assert Draft202012Validator(family.hyperparameters.model_json_schema()).is_valid(chosen) is (smoothing == 0)
    if not smoothing:
        assert family.configure("default", chosen).loss == "hinge"
        return
    with pytest.raises(InvalidRequest, match="label_smoothing is wrong: the loss hinge has no target") as caught:
        family.configure("default", chosen)
    assert [error.pointer for error in caught.value.errors] == ["#/model/hyperparameters/label_smoothing"]


@pytest.mark.parametrize("name", ["learning_rate_d", "dropout"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValidationError):
        CommonHyperparameters.model_validate({name: value})


def test_an_unknown_preset_is_answered_with_those_there_are() -> None:
    with pytest.raises(InvalidRequest, match="Did you mean 'reference'") as caught:
        FAMILIES[0].configure("referense", {})
    assert caught.value.errors[0].pointer == "#/model/preset"
