"""Logs on standard error: a line per message, as text or as JSON, with the request or the job that it belongs to."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from worker.contract.settings import Settings

JOB_ID: ContextVar[str | None] = ContextVar("job_id", default=None)
"""The resource whose job is in hand; None while there is none."""


@contextmanager
def working_on(resource_id: str) -> Iterator[None]:
    """What is logged meanwhile belongs to the job of this resource."""
    before = JOB_ID.set(resource_id)
    try:
        yield
    finally:
        JOB_ID.reset(before)


def log_to_stderr(settings: Settings, belongs_to: ContextVar[str | None]) -> None:
    """Send every logger's lines to standard error, each with the value of this variable, under the variable's name."""
    as_json = settings.log_format == "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json_formatter(belongs_to.name) if as_json else _text_formatter(belongs_to.name))
    handler.addFilter(_adding(belongs_to, absent=None if as_json else "-"))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)


def _text_formatter(field: str) -> logging.Formatter:
    return logging.Formatter(f"%(asctime)s %(levelname)-7s %(name)s [%({field})s] %(message)s")


def _json_formatter(field: str) -> logging.Formatter:
    return JsonFormatter(
        ["levelname", "name", "message", field],
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
        # uvicorn's own, the message once more with colours
        reserved_attrs=[*RESERVED_ATTRS, "color_message"],
    )


def _adding(variable: ContextVar[str | None], absent: str | None) -> Callable[[logging.LogRecord], bool]:
    def add(record: logging.LogRecord) -> bool:
        setattr(record, variable.name, variable.get() or absent)
        return True

    return add
