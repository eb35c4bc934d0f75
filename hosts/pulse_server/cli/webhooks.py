"""``pulse webhooks``: for whoever writes a receiver. Needs neither a configuration nor a database."""

from __future__ import annotations

import getpass
import os
import time
import warnings
from typing import IO

import click

from pulse_server.cli.base import escaped, out
from pulse_server.exits import FAILED
from pulse_webhook.verifying import TOLERANCE_S, Signed, verify

SECRET_VARIABLE = "PULSE_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable


@click.group()
def webhooks() -> None:
    """Webhooks: check what a receiver got."""


@webhooks.command("verify")
@click.option("--id", "message_id", required=True, help="The header webhook-id.")
@click.option("--timestamp", required=True, help="The header webhook-timestamp.")
@click.option("--signature", required=True, help="The header webhook-signature, all of it.")
@click.option(
    "--body", type=click.File("rb"), default="-", help="The file with the raw body; standard input if not given."
)
@click.option("--secret-env", metavar="VARIABLE", help=f"The variable with the secret; {SECRET_VARIABLE} if not given.")
@click.option("--secret-file", type=click.File("r"), help="The file with the secret.")
@click.option(
    "--tolerance",
    "tolerance_s",
    type=click.FloatRange(min=0),
    default=TOLERANCE_S,
    show_default=True,
    help="How many seconds the timestamp may be from now.",
)
def check(
    message_id: str,
    timestamp: str,
    signature: str,
    body: IO[bytes],
    secret_env: str | None,
    secret_file: IO[str] | None,
    tolerance_s: float,
) -> None:
    """Say whether a webhook's signature is right and, if not, why. Exits with 1 when it is not.

    The body comes on standard input, byte for byte as it arrived. The secret comes from the environment, a file or
    the keyboard, never from the command line, which others on the machine can read.
    """
    signed = Signed(message_id, timestamp, signature, body.read())
    verdict = verify(_secret(secret_env, secret_file), signed, time.time(), tolerance_s)
    if verdict.fault is None:
        out.print(f"[green]verified[/]: {escaped(verdict.text)}", soft_wrap=True)
        return
    out.print(f"[red]not verified[/] ({verdict.fault}): {escaped(verdict.text)}", soft_wrap=True)
    click.get_current_context().exit(FAILED)


def _secret(variable: str | None, file: IO[str] | None) -> str:
    if file is not None and variable is not None:
        raise click.UsageError("give the secret once: --secret-env or --secret-file")
    if file is not None:
        return file.read().strip()
    found = os.environ.get(variable or SECRET_VARIABLE)
    if found is None and variable is not None:
        raise click.UsageError(f"the environment has no {variable}")
    return (found if found is not None else _asked()).strip()


def _asked() -> str:
    """Ask at the terminal, unseen. Without one, the question would go to standard input, and echo."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return str(click.prompt("the signing secret", hide_input=True, err=True))
        except (getpass.GetPassWarning, click.Abort):
            raise click.UsageError(f"no secret: set {SECRET_VARIABLE}, or use --secret-env or --secret-file") from None
