"""Finds the families of models: one module each in this package, and what installed distributions add."""

import importlib
import inspect
import logging
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

import worker.models
from worker.contract.errors import DuplicateFamily, UnknownFamily
from worker.models.base import Family
from worker.sources.names import no_such

ENTRY_POINTS = "ragan.models"
"""Group in which a distribution names its subclasses of `Family`."""
_MACHINERY = {"base", "dcgan_family", "networks", "publish", "registry"}

log = logging.getLogger("ragan.models")


@cache
def families() -> Mapping[str, Family[Any]]:
    """Every family of this installation by name, looked up once per process."""
    return discover()


def family(name: str) -> Family[Any]:
    """The family of a name; UnknownFamily, with the nearest one there is."""
    if name not in families():
        raise UnknownFamily.at("#/model/family", no_such("family", name, families()))
    return families()[name]


def discover() -> dict[str, Family[Any]]:
    """Look for families. What cannot be loaded is logged and left out, so that the others stay of use.

    Raises:
        DuplicateFamily: two families have the same name.
    """
    found: dict[str, Family[Any]] = {}
    for kind in (*_modules_families(), *_plug_in_families()):
        if kind.name in found:
            first = type(found[kind.name])
            raise DuplicateFamily(
                f"{first.__module__} and {kind.__module__} both define the family {kind.name!r}: rename or remove one."
            )
        found[kind.name] = kind()
    return dict(sorted(found.items()))


def _modules_families() -> Iterator[type[Family[Any]]]:
    for info in pkgutil.iter_modules(worker.models.__path__):
        if info.name in _MACHINERY:
            continue
        name = f"{worker.models.__name__}.{info.name}"
        try:
            module = importlib.import_module(name)
        except Exception:
            log.exception("The family module %s cannot be loaded and is left out", name)
            continue
        yield from _families_of(module)


def _families_of(module: ModuleType) -> Iterator[type[Family[Any]]]:
    for member in vars(module).values():
        if _is_family(member) and member.__module__ == module.__name__:
            yield member


def _plug_in_families() -> Iterator[type[Family[Any]]]:
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            kind = entry.load()
        except Exception:
            log.exception("The plug-in %s (%s) cannot be loaded and is left out", entry.name, entry.value)
            continue
        if _is_family(kind):
            yield kind
        else:
            log.error("The plug-in %s (%s) is no subclass of Family and is left out", entry.name, entry.value)


def _is_family(candidate: object) -> bool:
    return inspect.isclass(candidate) and issubclass(candidate, Family) and not inspect.isabstract(candidate)
