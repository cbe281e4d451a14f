"""The front end's log on standard error: a line per message, as text or as JSON, with the request it belongs to."""

import logging
import sys
from collections.abc import Callable

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from app import audit
from app.request_ids import REQUEST_ID
from worker.contract.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Send every logger's lines to standard error; those of the audit log as they are, in either format."""
    as_json = settings.log_format == "json"
    lines = _handler(_json_formatter() if as_json else _text_formatter())
    lines.addFilter(_adding_request_id(None if as_json else "-"))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[lines], force=True)
    audited = logging.getLogger(audit.LOGGER)
    audited.handlers = [_handler(logging.Formatter("%(message)s"))]
    audited.setLevel(logging.INFO)  # whatever the level of the rest
    audited.propagate = False


def _handler(formatter: logging.Formatter) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    return handler


def _text_formatter() -> logging.Formatter:
    return logging.Formatter("%(asctime)s %(levelname)-7s %(name)s [%(request_id)s] %(message)s")


def _json_formatter() -> logging.Formatter:
    return JsonFormatter(
        ["levelname", "name", "message", "request_id"],
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
        # uvicorn's own, the message once more with colours
        reserved_attrs=[*RESERVED_ATTRS, "color_message"],
    )


def _adding_request_id(absent: str | None) -> Callable[[logging.LogRecord], bool]:
    def add(record: logging.LogRecord) -> bool:
        record.request_id = REQUEST_ID.get() or absent
        return True

    return add
