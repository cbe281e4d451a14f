"""`ragan keys`: the API keys of the service whose store is on this machine. No verb speaks to the service."""

import json
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import click

from app.failures import explained
from app.verb_options import as_json_option
from app.verb_output import show

if TYPE_CHECKING:
    from app.keys import Keyring


@click.group()
def keys() -> None:
    """Make, list and revoke API keys.

    They are kept, as hashes, in the file RAGAN_KEYS_FILE (default: keys.json in the store). A running service sees each
    change at once.
    """


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(["blind", "read", "submit", "admin"]),
    default="submit",
    show_default=True,
    help="blind: only read the images of reader studies; read: look and download; submit: also make, and change what "
    "the key has made; admin: change everything.",
)
@click.option(
    "--quota",
    "quotas",
    multiple=True,
    metavar="NAME=NUMBER",
    help="In place of the service's own quota, as in jobs=10; also running, steps, images and bytes; may be repeated.",
)
@as_json_option
@explained
def create(name: str, scope: str, quotas: tuple[str, ...], as_json: bool) -> None:
    """Make a key and print it, once: nobody can look it up later.

    NAME is whose it is. What a key makes belongs to its name, also after a key was revoked and made again.
    """
    from app.keys import Quotas, Scope

    given = Quotas.model_validate(dict(_quota(each, Quotas.model_fields) for each in quotas))
    secret = _keyring().create(name, Scope(scope), given)
    click.echo(json.dumps({"name": name, "scope": scope, "key": secret}, indent=2) if as_json else secret)


@keys.command("list")
@as_json_option
@explained
def list_keys(as_json: bool) -> None:
    """Show what keys there are, without the keys."""
    from app.display import listing

    found = [key.model_dump(mode="json", exclude={"sha256"}) for key in _keyring().all()]
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "name": lambda row: row["name"],
        "scope": lambda row: row["scope"],
        "made": lambda row: row["created_at"],
        "quotas of its own": lambda row: ", ".join(
            f"{name} {limit:,}" for name, limit in row["quotas"].items() if limit is not None
        ),
    }
    show(found, as_json, lambda: [listing("API keys", found, columns)])


@keys.command()
@click.argument("name")
@explained
def revoke(name: str) -> None:
    """Make a key worthless at once."""
    _keyring().revoke(name)
    click.echo(f"{name} is revoked", err=True)


def _keyring() -> "Keyring":
    from app.keys import Keyring
    from worker.contract.settings import Settings

    return Keyring.of(Settings())


def _quota(text: str, names: Collection[str]) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if name not in names or not number.isdecimal():
        raise click.BadParameter(
            f"{text!r} is not NAME=NUMBER with one of the names {', '.join(names)}", param_hint="--quota"
        )
    return name, int(number)
