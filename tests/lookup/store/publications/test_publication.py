"""What a publication says: fields of later versions are left out where they say nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lookup.store.backends.folder import FolderBackend
from lookup.store.publications.publication import Publication, path_of, read_publication

# As a run of before `content`, `held` and `collected` wrote it.
YESTERDAY = (
    b'{"number":2,"before":1,"snapshot":"20261121T085140Z-ffe67b365cd1c6c4","parent":null,"run":"r",'
    b'"published_at":"2026-11-21T08:51:41.000123Z","reason":"a run of the whole catalog",'
    b'"digest":"a053f45cc54e04d81e5840bbe4baeaf537cd2cff0883e617a6e907f695220c98"}\n'
)


def test_a_publication_of_yesterday_is_read_byte_for_byte(tmp_path: Path) -> None:
    """Its digest holds, and it is written again as it was."""
    backend = FolderBackend(str(tmp_path))
    backend.create(YESTERDAY, path_of(2))
    read = read_publication(backend, 2)
    assert (read.content, read.held, read.collected, read.kept) == (None, (), None, ())
    assert read.to_bytes() == YESTERDAY
    (tmp_path / path_of(2)).write_bytes(YESTERDAY.replace(b"whole", b"White"))
    with pytest.raises(ValueError, match="altered"):
        read_publication(backend, 2)


def test_what_later_fields_say_is_signed(tmp_path: Path) -> None:
    """They come back as they were given, and none can be taken away."""
    backend, now = FolderBackend(str(tmp_path)), datetime.now(UTC)
    fields = {"content": "c" * 64, "held": ("d" * 64,), "collected": now, "kept": ("a", "b")}
    made = Publication(number=1, before=None, snapshot="s", reason="gc").model_copy(update=fields)
    backend.create(made.to_bytes(), path_of(1))
    assert read_publication(backend, 1) == made.signed()
    less = json.loads(made.to_bytes())
    del less["held"]
    (tmp_path / path_of(1)).write_text(json.dumps(less, separators=(",", ":")) + "\n")
    with pytest.raises(ValueError, match="altered"):
        read_publication(backend, 1)
