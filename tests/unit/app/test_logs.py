import json
import logging

import pytest

from app.logs import configure_logging
from app.request_ids import REQUEST_ID
from worker.contract.settings import Settings


@pytest.fixture
def configured(monkeypatch):
    """Configures logging with these settings, until the test is over."""
    root, audit = logging.getLogger(), logging.getLogger("ragan.audit")
    before = (root.handlers[:], root.level, audit.handlers[:], audit.level, audit.propagate)
    # As if this process had no handlers yet: those of pytest are to be there again afterwards, unclosed.
    root.handlers = []
    yield lambda **settings: configure_logging(Settings(**settings))
    root.handlers, root.level, audit.handlers, audit.level, audit.propagate = before


def test_as_json_each_line_is_an_object_with_the_request_and_what_else_is_known(configured, capsys):
    configured(log_format="json")
    token = REQUEST_ID.set("my-request")
    logging.getLogger("ragan.api").warning("%s is\nlate", "ds_1", extra={"job": "ds_1", "color_message": "late"})
    REQUEST_ID.reset(token)
    logging.getLogger("other").error("broken", exc_info=ZeroDivisionError("why"))
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first.pop("time")
    assert first == {
        "level": "WARNING",
        "logger": "ragan.api",
        "message": "ds_1 is\nlate",
        "request_id": "my-request",
        "job": "ds_1",
    }
    assert second["request_id"] is None
    assert "ZeroDivisionError: why" in second["exc_info"]


def test_as_text_a_line_names_the_request(configured, capsys):
    configured()
    token = REQUEST_ID.set("my-request")
    logging.getLogger("ragan.api").info("ready")
    REQUEST_ID.reset(token)
    logging.getLogger("ragan.up").info("done")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("INFO    ragan.api [my-request] ready")
    assert second.endswith("INFO    ragan.up [-] done")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_audit_log_is_the_same_in_either_format_at_any_level(configured, capsys, log_format):
    configured(log_format=log_format, log_level="error")
    logging.getLogger("ragan.audit").info("%s", '{"action": "create"}')
    logging.getLogger("ragan.api").warning("not severe enough")
    assert capsys.readouterr().err == '{"action": "create"}\n'
