"""The limit of a process's addresses (ulimit -v). Libraries take far more of them than of memory, and where there are
too few they crash as they load, abort, or lack threads, and say nothing of the limit: it is looked at before they load.
"""

from __future__ import annotations

import importlib.util
import resource
from pathlib import Path

from foundation.errors import InputError

# With 2.15 GB a run of two workers without networks failed, each time in another way; with any number it took 2.45 GB.
_LEAST = 2_200_000_000  # bytes


def refuse_few_addresses(networks: bool) -> None:
    """InputError where this process's limit is below the least that a run takes, with `networks` that of torch too.

    A bound from below: with a little more a run may still fail.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    least = _LEAST + (_torch_bytes() if networks else 0)
    if limit != resource.RLIM_INFINITY and limit < least:
        raise InputError(
            f"addresses for the libraries and threads of a run: {least / 1e9:.1f} GB at least, twice that to be safe",
            f"a limit of {limit / 1e9:.1f} GB (ulimit -v)",
            "raise it, or take it away (ulimit -v unlimited), and bound the run's memory with --memory; containers and "
            "systemd (MemoryMax) bound memory itself",
        )


def _torch_bytes() -> int:
    """Of the libraries of torch, which are mapped whole; without loading any."""
    found = importlib.util.find_spec("torch")
    folders = found.submodule_search_locations if found else None
    return sum(file.stat().st_size for folder in folders or () for file in Path(folder, "lib").glob("*.so*"))
