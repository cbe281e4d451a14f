"""Publishes the families of this installation, so that the front end, which cannot build them, can offer them.

Run as `python -m worker.models.publish` by a worker as it starts, in a process of its own that ends with the memory
TensorFlow took. Its last line on standard output is JSON: `{"devices": ["GPU:0"]}`.
"""

import json
import logging
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from worker.contract.live import utc_now
from worker.contract.results import FamilyDescription
from worker.contract.settings import Settings
from worker.contract.store import Store
from worker.devices import device_names
from worker.models.base import REFERENCE, Family
from worker.models.registry import families
from worker.sources.classes import FEWEST_CLASSES

log = logging.getLogger("ragan.models")


def describe(family: Family[Any], clock: Callable[[], datetime] = utc_now) -> FamilyDescription:
    """What people may know of a family; its networks are built, to be counted."""
    reference = family.presets[REFERENCE]
    classes = FEWEST_CLASSES if family.takes_labels else 0
    networks = {
        "generator": family.generator(reference, classes),
        "discriminator": family.discriminator(reference, classes),
    }
    return FamilyDescription(
        family=family.name,
        title=family.title,
        reference=family.reference,
        image_sizes=(family.image_size,),
        takes_labels=family.takes_labels,
        parameters={name: network.count_params() for name, network in networks.items()},
        presets={name: preset.model_dump() for name, preset in family.presets.items()},
        hyperparameters=family.hyperparameters.model_json_schema(),
        published_at=clock(),
    )


def publish(store: Store, among: Iterable[Family[Any]]) -> None:
    """Publish families; one whose networks cannot be built is logged and left out."""
    descriptions = []
    for family in among:
        try:
            descriptions.append(describe(family))
        except Exception:
            log.exception("The networks of the family %s cannot be built; it is left out", family.name)
    # Not one by one as they are built: the first to be seen tells others that all can be asked for.
    for description in descriptions:
        store.publish_family(description)


def main() -> None:
    """Publish to the store of this environment, and print the devices."""
    settings = Settings()
    devices = device_names(settings.cpu_devices)
    publish(Store(settings.store), families().values())
    sys.stdout.write(json.dumps({"devices": devices}) + "\n")


if __name__ == "__main__":
    main()
