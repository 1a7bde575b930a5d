"""Where relative photo paths start: as configured, or the folder of the catalog."""

from pathlib import Path

import fsspec
import pytest

from foundation.errors import InputError
from pipeline.photos.root import image_root


def test_the_root_is_the_catalogs_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's folder, the folder, what stands before the magic of a glob, in a bucket too; else as configured."""
    root = tmp_path / "photos"
    root.mkdir()
    bucket = fsspec.filesystem("memory")
    bucket.pipe(f"{root}/catalog/a.parquet", b"")
    (root / "a.parquet").touch()
    monkeypatch.chdir(root)
    assert image_root("photos", "ignored") == "photos"
    assert image_root(f"file://{root}", "ignored") == str(root)
    assert image_root("memory://photos", "ignored") == "memory://photos"
    for catalog in (root, root / "a.parquet", root / "*.parquet", root / "*" / "deep" / "*.parquet"):
        assert image_root(None, str(catalog)) == str(root)
    for catalog in ("a.parquet", "*.parquet", "."):
        assert image_root(None, catalog) == "."
    for catalog in ("catalog", "catalog/a.parquet", "catalog/*.parquet"):
        assert image_root(None, f"memory:/{root}/{catalog}") == f"memory://{root}/catalog"


def test_a_root_on_the_web_is_refused() -> None:
    """Photos are not fetched over http."""
    with pytest.raises(InputError, match="a folder or a bucket"):
        image_root("https://shop.example/photos", "ignored")
