"""Options that several verbs of `ragan` take, and how what is typed is understood."""

import json
from typing import Any

import click

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for other programs.")
no_wait_option = click.option("--no-wait", is_flag=True, help="Queue the job and return at once.")


class _Checkpoint(click.ParamType[str | int]):
    """A step of a training, or a word for one."""

    name = "checkpoint"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        if value in ("latest", "best") or isinstance(value, int):
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is no checkpoint: name a step, or take latest or best.", param, ctx)


checkpoint_option = click.option(
    "--checkpoint",
    type=_Checkpoint(),
    metavar="STEP|latest|best",
    default="latest",
    show_default=True,
    help="A step, the newest, or the one nearest to real images (of a training with --evaluate-every).",
)


def setting(text: str) -> tuple[str, Any]:
    """A hyper-parameter with its value, from NAME=VALUE; BadParameter if it is not so."""
    name, separator, value = text.partition("=")
    if not separator:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE, as in --set width=0.5", param_hint="--set")
    try:
        return name, json.loads(value)
    except ValueError:  # a word, as in optimizer=adam
        return name, value


def class_training(text: str) -> tuple[str, str]:
    """A class with the training that draws it, from CLASS=ID; BadParameter if it is not so."""
    name, _, training = text.rpartition("=")
    if not name:
        raise click.BadParameter(f"{text!r} is not CLASS=ID, as in --training Pneumonia=tr_…", param_hint="--training")
    return name, training
