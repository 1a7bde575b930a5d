"""How far a step is, as people see it: a bar on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lookup.page import duration
from pipeline.engine.progress import Progress
from pipeline.report.log_lines import json_lines

_log = logging.getLogger(__name__)
_COUNTED = {
    "embed": "rows",
    "read": "rows",
    "fetch": "rows",
    "fingerprint": "rows",
    "products": "products",
    "related": "products",
    "build": "indexes",
    "import": "rows",
    "train": "steps",
    "train fusion": "steps",
}
_TELL_THEMSELVES = {"train", "train fusion"}  # with the loss
_SECONDS = 10.0  # between two lines of a step at least
_SHARE = 0.05  # of the time that a step has taken: hours do not fill a log


@contextmanager
def progress() -> Iterator[Progress]:
    """A function that shows how far a step is: a bar on a terminal, now and then a line elsewhere, and where lines are
    JSON.
    """
    if not sys.stderr.isatty() or json_lines():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description:16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, tuple[TaskID, Speed]] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                name = f"{step} ({_COUNTED.get(step, 'done')})"
                tasks[step] = bar.add_task(name, total=total, rate=""), Speed(done, time.monotonic())
            task, speed = tasks[step]
            bar.update(task, completed=done, total=total, rate=speed.describe(done, time.monotonic()))

        yield show


@dataclass(frozen=True)
class Speed:
    """What a step had done when it was first looked at: what an earlier run did costs no time now."""

    done: int
    at: float  # seconds

    def rate(self, done: int, now: float) -> float:
        """How many a second; 0 while nothing is known."""
        return (done - self.done) / (now - self.at) if now > self.at else 0.0

    def describe(self, done: int, now: float) -> str:
        """The rate for people, empty while it is unknown."""
        rate = self.rate(done, now)
        if rate <= 0:
            return ""
        return f"{rate:,.0f} a second" if rate >= 10 else f"{60 * rate:,.1f} a minute"


class Lines:
    """Progress as log lines: the first, the last, and in between one every ten seconds, later every twentieth of the
    time that the step has taken.
    """

    def __init__(self) -> None:
        self.began: dict[str, Speed] = {}
        self.due: dict[str, float] = {}

    def __call__(self, step: str, done: int, total: int) -> None:
        """Log how far `step` is, if it is time to."""
        if step in _TELL_THEMSELVES:
            return
        now = time.monotonic()
        began = self.began.setdefault(step, Speed(done, now))
        if now < self.due.get(step, now) and done < total:
            return
        if done >= total:
            if self.due.get(step) == float("inf"):
                return
            self.due[step] = float("inf")
        else:
            self.due[step] = now + max(_SECONDS, _SHARE * (now - began.at))
        rate = began.rate(done, now)
        left = duration((total - done) / rate) if rate > 0 and done < total else ""
        more = [began.describe(done, now), f"{left} left" if left else ""]
        said = "".join(f", {one}" for one in more if one)
        _log.info("%s %s of %s %s%s", step, f"{done:,}", f"{total:,}", _COUNTED.get(step, "done"), said)
