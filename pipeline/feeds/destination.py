"""Where a catalog must not be written: over its feed, or into a store. Told before a long feed is read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from foundation.errors import InputError
from pipeline.feeds.catalog_file import PRODUCTS
from pipeline.feeds.source import FeedFile

_OF_A_STORE = ("publications", "snapshots")  # folders


def refuse_destination(folder: Path, source: str, store: str | None) -> None:
    """InputError for a folder that is a file, the feed's own, part of a store, or inside of the one to be made."""
    if Path(source).is_dir() and folder.resolve() == Path(source).resolve():  # the next time it would be a feed
        raise InputError("--to apart from SOURCE", f"both {folder}", "name another folder with --to")
    if folder.exists() and not folder.is_dir():
        raise InputError("--to FOLDER", f"--to {folder}, which is a file", "name a folder, or a path where nothing is")
    for one in (folder.resolve(), *folder.resolve().parents):
        if all((one / name).is_dir() for name in _OF_A_STORE):
            raise InputError("--to apart from stores", f"--to {folder}, in the store {one}", "name another folder")
    if store is not None and "://" not in store and folder.resolve().is_relative_to(Path(store).resolve()):
        came = f"--to {folder}, in --index {store}"
        raise InputError("a store that does not hold its catalog", came, "name another store, such as one beside it")


def refuse_own_catalog(folder: Path, files: Iterable[FeedFile]) -> None:
    """InputError for a feed that lies where its catalog is to be: what the map leaves out is nowhere else."""
    products = (folder / PRODUCTS).resolve()
    if any(Path(one.name).resolve() == products for one in files):
        came = f"{folder / PRODUCTS}, which the catalog would replace"
        raise InputError("a feed apart from the catalog that is made of it", came, "name another folder with --to")
