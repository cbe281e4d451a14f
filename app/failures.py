"""How a command ends that could not do what it was asked: one sentence, and an exit code."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

EXIT_REFUSED, EXIT_UNREACHABLE = 1, 3
"""Beside 0, and 2 for a command line that click does not understand."""


class _Refused(click.ClickException):
    exit_code = EXIT_REFUSED


class _Unreachable(click.ClickException):
    exit_code = EXIT_UNREACHABLE


def explained(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what may go wrong into a sentence and an exit code."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        from pydantic import ValidationError

        from app.client import JobNotSuccessful, Refused, ServiceUnreachable
        from worker.contract.errors import RaganError

        try:
            command(*arguments, **options)
        except ServiceUnreachable as error:
            raise _Unreachable(str(error)) from error
        except (Refused, JobNotSuccessful) as error:
            raise _Refused(str(error)) from error
        except RaganError as error:
            raise _Refused(error.detail) from error
        except ValidationError as error:
            first = error.errors()[0]
            name = "_".join(str(part) for part in first["loc"])
            variable = name if name == "REDIS_URL" else f"RAGAN_{name.upper()}"
            raise _Refused(f"The environment variable {variable} cannot be used: {first['msg']}.") from error

    return run
