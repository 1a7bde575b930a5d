"""Threads of OpenMP, which torch and FAISS compute with, while they wait for one another."""

from __future__ import annotations

import os

_POLICY = "OMP_WAIT_POLICY"  # OpenMP 5.2, section 21.7


def wait_asleep() -> None:
    """Let threads that wait for others sleep, unless the environment says otherwise; before torch or FAISS is imported,
    whose libraries read it once.

    By default GNU's OpenMP looks for some milliseconds whether the others are done. Where something else wants the
    cores, that is most of what a network or a training of an index takes: docs/benchmarks/encode.md.
    """
    os.environ.setdefault(_POLICY, "PASSIVE")
