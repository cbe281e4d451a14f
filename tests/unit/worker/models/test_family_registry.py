import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import worker.models
from worker.contract.errors import DuplicateFamily, UnknownFamily
from worker.models.registry import discover, families, family

BUILT_IN = [
    *("dcgan128", "dcgan128-conditional", "dcgan64", "dcgan64-conditional", "minuscule28", "minuscule28-conditional"),
]
SMALL = """
from worker.models.base import CommonHyperparameters, Family

class {kind}(Family[CommonHyperparameters]):
    name = "{name}"
    title = "A small one"
    reference = "none"
    image_size = 8
    hyperparameters = CommonHyperparameters
    presets = {{"default": CommonHyperparameters(), "reference": CommonHyperparameters()}}

    def generator(self, hyperparameters, classes):
        raise NotImplementedError

    def discriminator(self, hyperparameters, classes):
        raise NotImplementedError
"""
LIST_WITHOUT_TENSORFLOW = """
import sys
from worker.models.registry import families
for family in families().values():
    family.hyperparameters.model_json_schema()
    print(family.name)
print([name for name in sys.modules if name.split(".")[0] in ("tensorflow", "keras")])
"""


def test_the_reference_families_are_there_in_order() -> None:
    assert list(discover()) == BUILT_IN


def test_families_and_their_schemas_are_to_be_had_without_tensorflow() -> None:
    listing = subprocess.check_output([sys.executable, "-c", LIST_WITHOUT_TENSORFLOW], text=True)
    assert listing.splitlines() == [*BUILT_IN, "[]"]


def test_an_installed_distribution_adds_its_family(install: Callable[..., None]) -> None:
    install("somebodys_models", SMALL.format(kind="Small", name="small"), "Small")
    assert list(families()) == [*BUILT_IN, "small"]
    assert family("small").title == "A small one"


def test_a_file_put_into_the_package_adds_its_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dropped_in.py").write_text(SMALL.format(kind="DroppedIn", name="dropped-in"))
    monkeypatch.setattr(worker.models, "__path__", [*worker.models.__path__, str(tmp_path)])
    assert "dropped-in" in discover()


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("import there_is_no_such_module", "cannot be loaded"),
        ("Broken = 3", "is no subclass of Family"),
        (SMALL.format(kind="Broken", name="broken").replace('title = "A small one"', ""), "lacks title"),
        (SMALL.format(kind="Broken", name="../broken"), "has the name '../broken'"),
        (SMALL.format(kind="Broken", name="broken").replace('"reference": Co', '"other": Co'), "preset 'reference'"),
    ],
)
def test_a_broken_plug_in_is_logged_and_the_others_stay(
    source: str, complaint: str, install: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    install("broken_models", source, "Broken")
    with caplog.at_level(logging.ERROR, "ragan.models"):
        assert list(discover()) == BUILT_IN
    assert "broken_models" in caplog.text
    assert complaint in caplog.text


def test_two_families_of_one_name_are_an_error_that_names_both(install: Callable[..., None]) -> None:
    install("copied_models", SMALL.format(kind="Copy", name="dcgan64"), "Copy")
    with pytest.raises(DuplicateFamily, match=re.escape("worker.models.dcgan64 and copied_models both")):
        discover()


def test_an_unknown_family_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownFamily, match="Did you mean 'dcgan64'") as caught:
        family("dcgan46")
    assert caught.value.errors[0].pointer == "#/model/family"
