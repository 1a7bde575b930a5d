"""How long an answer counts without asking again (RFC 9111), and with which conditions it is asked again."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping
from datetime import UTC, datetime

_MAX_AGE = re.compile(r'(?:^|[,\s])max-age\s*=\s*"?(\d+)')
_ANEW = re.compile(r"(?:^|[,\s])no-(?:cache|store)\b")
_MOST = 366 * 86_400.0  # seconds; RFC 9111 knows no end
_LONGEST = 1000  # characters of a validator that is kept


def fresh_seconds(headers: Mapping[str, str]) -> float:
    """For how many seconds the host says that its answer counts; 0 where it says nothing of it."""
    said = headers.get("cache-control", "").lower()
    if _ANEW.search(said):
        return 0.0
    found = _MAX_AGE.search(said)
    if found is not None:
        age = headers.get("age", "").strip()
        return max(0.0, min(_MOST, float(found[1][:9])) - (float(age[:9]) if age.isdecimal() else 0.0))
    return max(0.0, min(_MOST, seconds_until(headers.get("expires", "")) or 0.0))


def validators(headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    """(ETag, Last-Modified) of an answer, as they are sent back."""
    found = (headers.get(name, "").strip() for name in ("etag", "last-modified"))
    etag, modified = (one if one and len(one) <= _LONGEST and one.isprintable() else None for one in found)
    return etag, modified


def conditions(etag: str | None, modified: str | None) -> dict[str, str]:
    """The headers of a request that is answered by 304 where nothing changed."""
    named = {"If-None-Match": etag, "If-Modified-Since": modified}
    return {name: value for name, value in named.items() if value is not None}


def seconds_until(date: str) -> float | None:
    """Seconds from now to a date of HTTP; None for what is none."""
    try:
        at = email.utils.parsedate_to_datetime(date.strip())
    except (ValueError, OverflowError):  # the latter of a year, a day or an hour of many digits
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (at - datetime.now(UTC)).total_seconds()
