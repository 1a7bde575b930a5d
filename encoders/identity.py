"""The digest of settings: what names files by the content that went into them. It lives in the lowest package."""

from __future__ import annotations

import json
from typing import Any

from blake3 import blake3


def identity_of(parts: dict[str, Any]) -> str:
    """64 hex digits of JSON-able `parts`, independent of key order."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return blake3(canonical.encode()).hexdigest()
