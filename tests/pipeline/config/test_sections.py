"""The sections of the config, and who must know of their keys."""

from __future__ import annotations

from pipeline.config.sections import CatalogConfig
from pipeline.publish.snapshot import READING

# What may differ between a snapshot and a category that is run into it: where the catalog is, what is encoded again,
# what is refused, and columns that are compared by what came of them.
MAY_DIFFER = {
    *("path", "image_root", "attributes", "image_identity", "version_column"),
    *("max_photo_bytes", "max_photo_pixels", "max_photo_seconds", "max_row_bytes", "max_partitions"),
}


def test_every_key_of_the_catalog_is_compared_or_may_differ() -> None:
    """A new key of how a catalog is read must not let one category be read otherwise than those beside it."""
    assert set(CatalogConfig.model_fields) == {*READING, *MAY_DIFFER}
    assert not MAY_DIFFER & {*READING}
