"""The config that a command was given: loaded, and its log lines set up."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.config.load import Loaded
    from pipeline.config.run_section import LogFormat


def load(path: str | None, overrides: Sequence[str], memory: str | None = None, untrained: bool = False) -> Loaded:
    """The effective config of the file at `path`, with `overrides` and `memory` over it; InputError with all that is
    wrong. With `untrained`, a learned fusion need not name its model.
    """
    from pipeline.config.load import load_config

    given = [] if memory is None else [f"run.memory={memory}"]
    return load_config(path, [*overrides, *given], untrained=untrained)


def command_line() -> str:
    """The words of this command, as a run's record has them."""
    return shlex.join(["vitrine", *sys.argv[1:]]).encode(errors="backslashreplace").decode()


def is_store(path: str) -> bool:
    """Whether `path` is a folder or a URL, as a store is, rather than the file of a config."""
    return "://" in path or Path(path).is_dir()


def load_and_log(
    path: str | None,
    overrides: Sequence[str],
    log_format: LogFormat | None,
    memory: str | None = None,
    untrained: bool = False,
) -> Loaded:
    """The config, with the log going to stderr as it says; what is wrong with it, too, as `log_format` says."""
    from pipeline.commands import console

    if log_format is not None:
        console.logs("INFO", log_format)
        overrides = [*overrides, f"run.log_format={log_format}"]
    loaded = load(path, overrides, memory, untrained)
    console.logs(loaded.config.run.log_level, loaded.config.run.log_format)
    return loaded
