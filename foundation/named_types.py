"""Which modules of a package are types that a config can name: those that define `Spec`. Nobody lists them."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from foundation.errors import InputError


def types_in(path: Sequence[str]) -> list[str]:
    """The modules of a package's folders that define a class `Spec`, sorted; read, not imported."""
    return list(_types_in(tuple(path)))


def spec_class(package: ModuleType, name: Any) -> Any:
    """The class `Spec` of the module `name` in the folders of `package`; InputError where there is none."""
    types = types_in(package.__path__)
    if name not in types:
        fix = f"name a module of {package.__name__.replace('.', '/')}/ that defines Spec"
        raise InputError(f"type: one of {', '.join(types)}", f"type: {name!r}", fix)
    return importlib.import_module(f"{package.__name__}.{name}").Spec


@functools.cache
def _types_in(path: tuple[str, ...]) -> tuple[str, ...]:
    found = (module.name for module in pkgutil.iter_modules(list(path)) if not module.ispkg)
    return tuple(sorted(name for name in found if any(_defines_spec(Path(folder, f"{name}.py")) for folder in path)))


def _defines_spec(module: Path) -> bool:
    return module.is_file() and "\nclass Spec(" in module.read_text("utf-8")
