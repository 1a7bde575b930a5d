"""How the commands of cli.py are found and how they end: with a message in three parts and its exit code."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from foundation import streams
from foundation.errors import InputError, VitrineError
from foundation.machine import machine_fault
from pipeline.commands.leaving import leaving
from pipeline.engine.failures import MACHINE, explained, interrupted
from pipeline.engine.watchdog import leave

BEAM = "vitrine.beam_arguments"  # what stands after `--`, in a context's `meta`


@contextmanager
def ending() -> Iterator[None]:
    """Around the command of a process of its own: what is left to print is printed, nothing that hangs is waited for,
    and the process leaves.
    """
    with leaving():
        try:
            with streams.flushed():
                yield
        finally:
            leave()


class Commands(click.Group):
    """Ends with the message and exit code of what it was ended by, click's own complaints included, in three parts.

    A command may have a name of two words, `train fusion`, beside one that is called by the first of them, `train`.
    """

    began: float | None = None  # when the command that runs was called, in seconds of `time.perf_counter`

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first two words name, else the first."""
        both = " ".join(args[:2])
        if len(args) > 1 and both in self.commands:
            return both, self.commands[both], args[2:]
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, *others: Any, **named: Any) -> Any:
        """Run the command and exit."""
        self.began = time.perf_counter()
        streams.prepare()
        arguments = list(sys.argv[1:] if args is None else args)
        ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
        try:
            code = super().main(arguments, *others, **{**named, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as err:
            err.show()
            sys.exit(err.exit_code)
        except (VitrineError, OSError, click.ClickException, click.Abort) as err:
            _end(_in_three_parts(err), as_json="--json" in ours)
        except (*MACHINE, ImportError) as err:
            fault = machine_fault(err)
            if fault is None:
                raise
            _end(fault, as_json="--json" in ours)
        sys.exit(code if isinstance(code, int) else 0)


def _end(err: VitrineError, as_json: bool) -> NoReturn:
    from pipeline.engine import printing

    printing.error(err, as_json)
    sys.exit(err.exit_code)


def _in_three_parts(err: VitrineError | OSError | click.ClickException | click.Abort) -> VitrineError:
    if isinstance(err, click.Abort):
        return interrupted()
    if not isinstance(err, click.ClickException):
        return explained(err)
    ctx = err.ctx if isinstance(err, click.UsageError) else None
    usage = ctx.get_usage().removeprefix("Usage: ") if ctx else "vitrine COMMAND"
    path = ctx.command_path if ctx else "vitrine"
    return InputError(
        " ".join(usage.split()), err.format_message(), f"`{path} --help` shows the options and an example"
    )


class BeamCommand(click.Command):
    """A command that hands what stands after `--` to Beam."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what stands after `--` in the context."""
        if "--" in args:
            cut = args.index("--")
            ctx.meta[BEAM], args = tuple(args[cut + 1 :]), args[:cut]
        return super().parse_args(ctx, args)
