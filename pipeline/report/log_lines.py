"""How a line of a log looks: for people, or as one JSON object for what collects logs. Each has its date and time in
UTC.
"""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from typing import Any


class TextLines(logging.Formatter):
    """`2026-11-30T02:30:00.123Z INFO plan: 0.5 s`; with `named`, the logger stands before the message."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, named: bool = False) -> None:
        super().__init__(f"%(asctime)s %(levelname)s {'%(name)s ' if named else ''}%(message)s")


class JsonLines(logging.Formatter):
    """One JSON object a line: `time` (UTC, milliseconds), `level`, `logger`, `message`, `run` (null before one began),
    and `exception`, the traceback, where there is one.
    """

    run: str | None = None

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        exception = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        more = {"exception": exception} if exception else {}
        return self.line(record.created, record.levelname, record.name, record.getMessage(), **more)

    def line(self, created: float, level: str, logger: str, message: str, **more: Any) -> str:
        """A line with fields of its own beside those that each has; `created` are seconds since 1970."""
        when = datetime.fromtimestamp(created, UTC)
        stamp = f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"
        fields = {"time": stamp, "level": level, "logger": logger, "message": message, "run": self.run}
        return json.dumps({**fields, **more}, default=str)


def json_lines() -> JsonLines | None:
    """How this process writes its log, where that is as JSON."""
    formatters = (handler.formatter for handler in logging.getLogger().handlers)
    return next((one for one in formatters if isinstance(one, JsonLines)), None)
