"""Whether golden queries can be asked: by the towers that there are, with photos that can be read."""

from __future__ import annotations

from collections.abc import Iterator

from foundation.errors import InputError
from pipeline.catalog.golden import read_golden
from pipeline.config.encoding import photo_limits
from pipeline.preflight.findings import Finding, Subject


def golden_findings(subject: Subject) -> Iterator[Finding]:
    """What is wrong with the file of golden queries."""
    path = subject.settings.golden.path
    if subject.purpose != "run" or path is None:
        return
    try:
        queries = read_golden(path, photo_limits(subject.catalog))
    except InputError as err:
        yield Finding.of("golden.path", err)
        return
    for kind, spec in (("text", subject.encoders.text), ("image", subject.encoders.image)):
        asking = sum(getattr(one, kind) is not None for one in queries)
        if spec is None and asking:
            fix = f"name an encoder, or leave these queries out of {path}"
            came = f"null, and {asking} golden queries with {kind}"
            yield Finding(f"encoders.{kind}", came, f"an encoder that golden queries by {kind} are asked by", fix)
