"""The front end's log: that of all processes, with the request each line belongs to, and the audit log beside it."""

import logging
import sys

from app import audit
from app.request_ids import REQUEST_ID
from worker.contract.logs import log_to_stderr
from worker.contract.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Send every logger's lines to standard error; those of the audit log as they are, in either format."""
    log_to_stderr(settings, REQUEST_ID)
    as_they_are = logging.StreamHandler(sys.stderr)
    as_they_are.setFormatter(logging.Formatter("%(message)s"))
    audited = logging.getLogger(audit.LOGGER)
    audited.handlers = [as_they_are]
    audited.setLevel(logging.INFO)  # whatever the level of the rest
    audited.propagate = False
