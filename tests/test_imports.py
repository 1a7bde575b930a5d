"""The walls between the packages, read from the source: who imports whom, and how big things are."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("foundation", "encoders", "lookup", "index_builders", "pipeline")  # from the ground up
PACKAGES = FLOORS
ALLOWED = {
    "pipeline": {"foundation", "encoders", "lookup", "index_builders"},
    "index_builders": {"foundation", "lookup"},
    "lookup": {"foundation", "encoders"},
    "encoders": {"foundation"},
    "foundation": set[str](),
}
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAX_FILE, MAX_FUNCTION = 400, 50
LIBRARIES = {*packages_distributions(), *sys.stdlib_module_names} - set(PACKAGES)
LAZY = {"open_clip", "peft", "torch", "torchcodec", "torchvision", "timm", "transformers"}
PIPELINE_ONLY = {"apache_beam", "click"}
Function = ast.FunctionDef | ast.AsyncFunctionDef

each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level name of everything imported anywhere in `tree`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import hides which package it reaches"
            yield (node.module or "").split(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"import_module", "importlib.import_module"}:
            yield from (str(name.value).split(".")[0] for name in node.args[:1] if isinstance(name, ast.Constant))


def imported_on_loading(tree: ast.Module) -> set[str]:
    """What importing the module imports: all but the bodies of functions and of `if TYPE_CHECKING:`."""
    names: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Function | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update(imported(node))
        waiting.extend(ast.iter_child_nodes(node))
    return names


def module_of(path: Path) -> str:
    """The dotted name of a file; of `__init__.py` that of its folder."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    """The folder of its package that a module lies in, or the module itself where it lies in none."""
    return ".".join(module.split(".")[:2])


def arrows() -> set[tuple[str, str]]:
    """Which module imports which, anywhere in the file: in functions and for types too."""
    names = {module_of(path) for path in MODULES}
    found = set[tuple[str, str]]()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found.update((module_of(path), alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                each = [f"{node.module}.{alias.name}" for alias in node.names]
                found.update((module_of(path), one if one in names else node.module or "") for one in each)
    return {(mine, theirs) for mine, theirs in found if theirs in names and theirs != mine}


def circles(edges: Iterable[tuple[str, str]]) -> list[str]:
    """What is left of a graph when whatever leads nowhere or is led to from nowhere is taken away, again and again."""
    left = {(mine, theirs) for mine, theirs in edges if mine != theirs}
    while True:
        leads, led = {mine for mine, _ in left}, {theirs for _, theirs in left}
        inner = {(mine, theirs) for mine, theirs in left if theirs in leads and mine in led}
        if inner == left:
            return sorted(f"{mine} -> {theirs}" for mine, theirs in left)
        left = inner


def test_there_is_something_to_guard() -> None:
    """Every package has modules, and each of them is seen to import something."""
    assert {package_of(path) for path in MODULES} == set(PACKAGES)
    assert len(MODULES) >= 15
    assert len(arrows()) > 500
    assert circles([("a", "b"), ("b", "c"), ("c", "b"), ("d", "e")]) == ["b -> c", "c -> b"]
    seen = {package: set[str]() for package in PACKAGES}
    for path in MODULES:
        seen[package_of(path)].update(imported(ast.parse(path.read_text())))
    assert all("pydantic" in names for package, names in seen.items() if package != "foundation")
    assert ALLOWED["pipeline"] <= seen["pipeline"]


@each_module
def test_only_the_edges_of_the_design(path: Path) -> None:
    """Imports go down: pipeline, index_builders, lookup, encoders, foundation; index_builders know no encoders."""
    package = package_of(path)
    reached = set(imported(ast.parse(path.read_text()))) & set(PACKAGES) - {package}
    assert reached <= ALLOWED[package]


def test_no_circle_between_files() -> None:
    """No file imports one that imports it, by whatever way round, not even for types or inside a function."""
    assert not circles(arrows() - {("lookup.store.store", "lookup.store.backends.bucket")})  # one picks the other


def test_no_room_imports_upwards() -> None:
    """Folders lie on floors too: of two, at most one imports from the other, by whatever way round."""
    assert not circles((room_of(mine), room_of(theirs)) for mine, theirs in arrows() if mine != room_of(mine))


@each_module
def test_beam_and_click_stay_in_pipeline(path: Path) -> None:
    """Only pipeline imports apache_beam or click, even inside a function."""
    if package_of(path) != "pipeline":
        assert not set(imported(ast.parse(path.read_text()))) & PIPELINE_ONLY


@each_module
def test_networks_are_imported_late(path: Path) -> None:
    """torch, timm and transformers are imported inside functions only: importing a module must not cost seconds."""
    assert not imported_on_loading(ast.parse(path.read_text())) & LAZY


@each_module
def test_no_module_is_named_like_a_library(path: Path) -> None:
    """A module named like an installed library or one of Python's own would be mistaken for it."""
    assert {"numpy", "json"} <= LIBRARIES
    if path.stem not in {"__init__", "__main__"}:
        assert path.stem not in LIBRARIES


@each_module
def test_files_and_functions_are_short(path: Path) -> None:
    """A file has at most 400 lines, a function 50."""
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, Function)]
    long = {node.name: size for node in functions if (size := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION}
    assert not long


def test_late_imports_are_told_from_early_ones() -> None:
    """The reader of imports sees through classes, try and if, but not into functions and TYPE_CHECKING."""
    source = """
if TYPE_CHECKING:
    import a
else:
    import b
try:
    from c.d import e
except ImportError:
    pass
class X:
    import f
    def g(self):
        import h
"""
    assert imported_on_loading(ast.parse(source)) == {"b", "c", "f"}
    assert set(imported(ast.parse(source))) == {"a", "b", "c", "f", "h"}


def test_reading_a_config_loads_nothing_heavy() -> None:
    """Importing pipeline.config.load imports no torch, Beam, faiss or pyarrow: `config show` must answer at once."""
    code = "import sys, pipeline.config.load; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "pipeline.config.load" in loaded
    assert not loaded & {"torch", "timm", "transformers", "apache_beam", "faiss", "pyarrow", "click"}


def test_figures_know_no_gate() -> None:
    """What is measured of a snapshot does not depend on what judges it; gates read figures."""
    rooms = {(mine.rpartition(".")[0], theirs.rpartition(".")[0]) for mine, theirs in arrows()}
    figures, gates = "pipeline.publish.figures", "pipeline.publish.gates"
    assert (gates, figures) in rooms
    assert (figures, gates) not in rooms
