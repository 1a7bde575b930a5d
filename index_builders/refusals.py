"""What cannot be learned, found before it is tried."""

from __future__ import annotations

from foundation.errors import InputError


def refuse_few(rows: int, needed: int, why: str) -> None:
    """InputError unless there are `needed` rows to learn from."""
    if rows < needed:
        raise InputError(
            f"at least {needed} training rows ({why})",
            f"{rows} rows",
            "lower index.large.nlist, or raise index.max_train_rows or index.exact_below",
        )
