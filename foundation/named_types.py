"""Which modules of a package are types that a config can name: those that define `Spec`. Nobody lists them."""

from __future__ import annotations

import functools
import pkgutil
from collections.abc import Sequence
from pathlib import Path


def types_in(path: Sequence[str]) -> list[str]:
    """The modules of a package's folders that define a class `Spec`, sorted; read, not imported."""
    return list(_types_in(tuple(path)))


@functools.cache
def _types_in(path: tuple[str, ...]) -> tuple[str, ...]:
    found = (module.name for module in pkgutil.iter_modules(list(path)) if not module.ispkg)
    return tuple(sorted(name for name in found if any(_defines_spec(Path(folder, f"{name}.py")) for folder in path)))


def _defines_spec(module: Path) -> bool:
    return module.is_file() and "\nclass Spec(" in module.read_text("utf-8")
