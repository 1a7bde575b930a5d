"""How results reach stdout: one JSON document, lines, and tables, whatever stdout can take."""

from __future__ import annotations

import json
import math
import re
import secrets
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from decimal import Decimal
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import click

from foundation import streams
from pipeline.report.log_lines import json_lines

if TYPE_CHECKING:
    from foundation.errors import VitrineError

_GAP = "  "  # between two columns


def document(value: Any) -> None:
    """One JSON document on stdout. JSON has no NaN: what is no finite number is null. Decimals are numbers with all
    their digits.
    """
    mark = secrets.token_hex(16)  # json writes no number but int and float: decimals go in as marked strings

    def written(one: Any) -> str:
        if isinstance(one, Decimal):
            return f"{mark}{one:f}"
        return one.isoformat() if isinstance(one, date) else str(one)

    plain = not streams.takes_unicode(sys.stdout)
    text = json.dumps(_finite(value), ensure_ascii=plain, allow_nan=False, indent=1, default=written)
    echo(re.sub(f'"{mark}([^"]*)"', r"\1", text))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under their columns, as wide as the terminal (elsewhere 160): where that is too narrow, the widest columns
    give room and their cells go on below.
    """
    from wcwidth import ljust, width, wrap

    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(columns, *cells, strict=True)]
    room = (shutil.get_terminal_size().columns if sys.stdout.isatty() else 160) - len(_GAP) * (len(widths) - 1)
    while sum(widths) > room and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1

    def lines(row: Sequence[str]) -> str:
        fits = [
            [cell] if width(cell) <= w else wrap(cell, w, break_on_hyphens=False)
            for cell, w in zip(row, widths, strict=True)
        ]
        return "\n".join(_GAP.join(map(ljust, line, widths)) for line in zip_longest(*fits, fillvalue=""))

    echo("\n".join([click.style(lines(columns), bold=True), *map(lines, cells)]))


def echo(text: str, nl: bool = True) -> None:
    """A result on stdout. Where its reader has seen enough, the rest goes nowhere and that is no error."""
    try:
        click.echo(text, file=sys.stdout, nl=nl)  # click itself would write UTF-8 where ASCII is asked for
    except BrokenPipeError:
        streams.hush(sys.stdout)
    except OSError:
        streams.hush(sys.stdout)  # or the same would be met again as the process ends
        raise


def printable(cell: str) -> str:
    """`cell` without the control characters by which a title could steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in cell)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def error(err: VitrineError, as_json: bool) -> None:
    """An error: three parts on stderr, one object where log lines are JSON, and with --json the same as the document.
    The exit code tells it all the same where neither can be written.
    """
    told = {"expected": err.expected, "came": err.came, "to_do": err.fix}
    if as_json:
        with suppress(OSError):
            document({"error": told, "exit_code": err.exit_code})
    lines = json_lines()
    try:
        if lines is None:
            click.secho("error", fg="red", bold=True, err=True)
            click.echo(str(err), err=True)
        else:
            click.echo(lines.line(time.time(), "ERROR", "vitrine", str(err), **told, exit_code=err.exit_code), err=True)
    except OSError:
        streams.hush(sys.stderr)
