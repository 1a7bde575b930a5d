"""The log of a run, in its folder."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.report.log_lines import TextLines, json_lines

_log = logging.getLogger(__name__)


class RunLog(logging.FileHandler):
    """Keeps this process's log in a file too, while the body runs, and the traceback of what ended it. Lines that are
    written as JSON name the run from here on.
    """

    def __init__(self, path: Path, run: str) -> None:
        super().__init__(path, encoding="utf-8")
        self.setFormatter(TextLines(named=True))
        self.run, self.told = run, False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Say once that the disk does not take the log: by default each line would cost a traceback."""
        if not self.told:
            self.told = True
            _log.warning("%s is not complete: %s", self.baseFilename, sys.exc_info()[1])

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self)
        if lines := json_lines():
            lines.run = self.run
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None and err is not None:
            # into the file only: to the user it is told by whoever called
            self.handle(
                logging.LogRecord(__name__, logging.ERROR, __file__, 0, "the run ended early", None, (kind, err, at))
            )
        logging.getLogger().removeHandler(self)
        try:
            self.close()
        except OSError:  # what the disk did not take; see handleError
            if err is None:
                raise
