import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from worker.contract.store import Store
from worker.models.base import Family
from worker.models.publish import publish
from worker.models.registry import families

PARAMETERS = {
    "minuscule28-conditional": {"generator": 3_021_541, "discriminator": 4_312_577},
    "dcgan64-conditional": {"generator": 3_616_741, "discriminator": 4_337_153},
    "dcgan128-conditional": {"generator": 5_256_421, "discriminator": 1_878_401},
    "minuscule28": {"generator": 2_394_241, "discriminator": 4_311_553},
    "dcgan64": {"generator": 2_797_441, "discriminator": 4_336_129},
    "dcgan128": {"generator": 4_437_121, "discriminator": 1_878_145},
}


def test_the_program_publishes_every_family_and_prints_the_devices(tmp_path: Path) -> None:
    environment = os.environ | {"RAGAN_STORE": str(tmp_path), "RAGAN_CPU_DEVICES": "2", "CUDA_VISIBLE_DEVICES": ""}
    printed = subprocess.check_output([sys.executable, "-m", "worker.models.publish"], env=environment, text=True)
    assert json.loads(printed.splitlines()[-1]) == {"devices": ["CPU:0", "CPU:1"]}
    published = Store(tmp_path).families()
    assert {name: description.parameters for name, description in published.items()} == PARAMETERS
    for name, description in published.items():
        family = families()[name]
        assert description.image_sizes == (family.image_size,)
        assert description.hyperparameters == family.hyperparameters.model_json_schema()
        presets = {preset: values.model_dump(mode="json") for preset, values in family.presets.items()}
        assert description.presets == presets


def test_a_family_that_cannot_be_built_is_logged_and_the_others_are_published(
    store: Store, install: Callable[..., None], tiny: str, caplog: pytest.LogCaptureFixture
) -> None:
    unbuildable = """
    from tiny_family import Tiny

    class Unbuildable(Tiny):
        name = "a-broken-one"

        def generator(self, hyperparameters, classes):
            raise RuntimeError("no such layer")
    """
    install("broken_networks", unbuildable, "Unbuildable")
    with caplog.at_level(logging.ERROR, "ragan.models"):
        publish(store, [families()["a-broken-one"], families()[tiny]])
    assert list(store.families()) == [tiny]
    assert "a-broken-one" in caplog.text
    assert "no such layer" in caplog.text


def test_no_family_is_published_before_all_are_built(store: Store, tiny: str) -> None:
    def built_one_by_one() -> Iterator[Family[Any]]:
        yield families()[tiny]
        assert not store.families()

    publish(store, built_one_by_one())
    assert list(store.families()) == [tiny]
