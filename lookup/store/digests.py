"""The digest of a file, and whether it is the one that was written."""

from __future__ import annotations

from pathlib import Path

from blake3 import blake3

from lookup.store.fields import FileRef


def digest_file(path: Path) -> tuple[str, int]:
    """The blake3 (64 hex digits) and the size in bytes of a file, read by memory mapping."""
    hasher = blake3(max_threads=1)
    hasher.update_mmap(str(path))
    return hasher.hexdigest(), path.stat().st_size


def differs(path: Path | None, file: FileRef) -> str | None:
    """How the file at `path` differs from what `file` says of it; None when it does not."""
    if path is None:
        return "no such file"
    digest, size = digest_file(path)
    if size != file.bytes:
        return f"{size} bytes"
    return None if digest == file.blake3 else f"blake3 {digest}"
