import json
import logging

import pytest

from worker.contract.logs import JOB_ID, log_to_stderr, working_on
from worker.contract.settings import Settings


@pytest.fixture
def configured():
    """Configures logging in a format, until the test is over."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    # As if this process had no handlers yet: those of pytest are to be there again afterwards, unclosed.
    root.handlers = []
    yield lambda log_format: log_to_stderr(Settings(log_format=log_format), JOB_ID)
    root.handlers, root.level = before


def log_in_and_after_a_job():
    with working_on("ds_1"):
        logging.getLogger("ragan.jobs").warning("%s: is\nlate", "images")
    logging.getLogger("ragan.worker").info("waits", extra={"queue": "prepare"})


def test_as_json_each_line_is_an_object_with_the_job_in_hand(configured, capsys):
    configured("json")
    log_in_and_after_a_job()
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first.pop("time")
    assert first == {"level": "WARNING", "logger": "ragan.jobs", "message": "images: is\nlate", "job_id": "ds_1"}
    assert (second["job_id"], second["queue"]) == (None, "prepare")


def test_as_text_a_line_names_the_job_in_hand(configured, capsys):
    configured("text")
    log_in_and_after_a_job()
    first, _, second = capsys.readouterr().err.splitlines()
    assert first.endswith("WARNING ragan.jobs [ds_1] images: is")
    assert second.endswith("INFO    ragan.worker [-] waits")


def test_a_job_that_fails_is_in_hand_no_more():
    with pytest.raises(ZeroDivisionError), working_on("ds_1"):
        raise ZeroDivisionError
    assert JOB_ID.get() is None
