"""What is to be known of a photo from now on: it came, it is as it was, or why there is none."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from encoders.photos.faults import fault_of, format_of
from foundation.reasons import Reason
from pipeline.photos.net.cache import Came, Entry
from pipeline.photos.net.exchange import Answer
from pipeline.photos.net.failures import Failure
from pipeline.photos.net.freshness import fresh_seconds, validators
from pipeline.photos.net.host import Job

_NOTHING = Entry(None, 0, None, None, 0.0, 0.0)


@dataclass(frozen=True)
class Settled:
    """What goes into the cache, by which name it is counted (see Fetcher.counts), and why there is no new photo."""

    came: Came
    counted: str
    failure: Failure | None = None


def had(job: Job[Any], answer: Answer) -> Settled:
    """By an answer of 200, or of 304 to who has the photo; what was sent may be no photo."""
    now, raw = time.time(), answer.body
    until = now + fresh_seconds(answer.headers)
    etag, modified = validators(answer.headers)
    if answer.status == 304:
        assert job.known is not None
        etag, modified = etag or job.known.etag, modified or job.known.modified
        same = replace(job.known, etag=etag, modified=modified, checked=now, fresh_until=until, code=None, words=None)
        return Settled(Came(job.key, same), "unchanged")
    if format_of(raw) is None:
        words = fault_of(raw, ValueError()).partition(": ")[0] if raw else "an empty answer"
        return failed(job, Failure(Reason.IMAGE_UNDECODABLE, words))
    return Settled(Came(job.key, Entry(None, len(raw), etag, modified, now, until), raw), "fetched")


def failed(job: Job[Any], failure: Failure) -> Settled:
    """It could not be had. What was had before counts where the failure may pass."""
    known = job.known if failure.may_pass and job.known is not None and job.known.digest is not None else None
    told = replace(known or _NOTHING, checked=time.time(), fresh_until=0.0, code=failure.code, words=failure.words)
    return Settled(Came(job.key, told), f"failed {failure.code}" if known is None else "stale", failure)
