"""`--accept GATE[:PARTITION]`: a person's word that a figure is right although its gate refuses it. The snapshot says
so for ever.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from encoders.names import same_category
from foundation.errors import GateError, InputError
from lookup.store.entries.accepted import Accepted
from lookup.store.manifest import Manifest
from pipeline.publish.gates.base import listed
from pipeline.publish.gates.check import result_names
from pipeline.report.run_report import GateResult

_log = logging.getLogger(__name__)
_MOST = 8  # results that an error tells; the report has all


class Acceptance(NamedTuple):
    """The results of `gate` that are accepted: those of one partition, or (None) all."""

    gate: str
    partition: str | None


def parse(words: Sequence[str]) -> tuple[Acceptance, ...]:
    """What the words `GATE` or `GATE:PARTITION` accept; InputError for a gate that is not known, or that nobody can
    accept.
    """
    known = result_names()
    found = tuple(Acceptance(gate, partition or None) for gate, _, partition in (word.partition(":") for word in words))
    for word, one in zip(words, found, strict=True):
        if not known.get(one.gate):
            may = ", ".join(sorted(name for name, acceptable in known.items() if acceptable))
            why = "no gate has that name" if one.gate not in known else "what it refuses no snapshot may have"
            raise InputError(f"--accept GATE or GATE:PARTITION, of the gates {may}", f"{word}: {why}", "name one")
    return found


def in_partitions(accepted: Sequence[Acceptance], partitions: Collection[str]) -> tuple[Acceptance, ...]:
    """The same with the partitions that are meant, as they are named; InputError for one that is not among them."""
    return tuple(one if one.partition is None else _named(one.gate, one.partition, partitions) for one in accepted)


def mark(results: Iterable[GateResult], accepted: Sequence[Acceptance]) -> list[GateResult]:
    """`results`, those accepted, and told in the log, that failed and that `accepted` covers."""
    return [_accepted(one) if not one.passed and any(_covers(by, one) for by in accepted) else one for one in results]


def entries(
    results: Iterable[GateResult], run: str, carried: Manifest | None, category: str | None
) -> tuple[Accepted, ...]:
    """What a snapshot says: of the results those accepted, after what `carried` says that is not of the `category` that
    the run replaces; all of it, where a merge has decided what is carried.
    """
    before = [one for one in (carried.accepted if carried else ()) if category is None or one.partition != category]
    mine = [
        Accepted(gate=one.name, partition=one.partition, value=one.value, bound=one.bound, run=run)
        for one in results
        if one.accepted
    ]
    places = {one.place for one in mine}
    return (*(one for one in before if one.place not in places), *mine)


def counts(results: Sequence[GateResult]) -> dict[str, int]:
    """How many results there are, how many of them stop a run, and how many would but for what was accepted."""
    accepted = sum(one.accepted for one in results)
    told = {"gates": len(results), "failed": sum(one.stops for one in results)}
    return told | {"accepted": accepted} if accepted else told


def in_spite(results: Iterable[GateResult]) -> str:
    """What was accepted, for whoever reads the history; empty where nothing was."""
    places = [one.place for one in results if one.accepted]
    return f", in spite of {listed(places)}" if places else ""


def refuse(results: Sequence[GateResult], report: str | None) -> None:
    """GateError where a result stops a run whose page is `report`, or a plan (None): each figure, and the words that
    would accept it.
    """
    failed = [one for one in results if one.stops]
    if not failed:
        return
    may = result_names()
    fix = "see to what each figure says, and plan again"
    if report is not None:
        fix = f"see to what each figure says, and run again; nothing was published, and the report is {report}"
    if all(may.get(one.name) for one in failed):
        before = [one.place for one in results if one.accepted]  # the words of this run, without which they fail again
        words = " ".join(f"--accept {shlex.quote(place)}" for place in dict.fromkeys((*before, *_places(failed))))
        fix += f"; or, if all of it is right, publish in spite of it, which the snapshot will always say: {words}"
    raise GateError(
        "; ".join(dict.fromkeys(f"{one.name} {one.op} {one.bound:g}" for one in failed)),
        "; ".join(f"{one.place} {one.value:g} ({one.advice})" for one in failed[:_MOST])
        + (f"; and {len(failed) - _MOST} more" if len(failed) > _MOST else ""),
        fix,
    )


def _places(failed: Sequence[GateResult]) -> list[str]:
    """What to accept: a gate, where its figure of the whole failed or those of many partitions; else each of these."""
    places: dict[str, list[str]] = {}
    for one in failed:
        places.setdefault(one.name, []).append(one.place)
    return [
        place
        for name, several in places.items()
        for place in ([name] if name in several or len(several) > _MOST else several)
    ]


def _named(gate: str, partition: str, partitions: Collection[str]) -> Acceptance:
    meant = same_category(partition, partitions)
    if len(meant) != 1:
        known = listed(sorted(partitions), 20)
        raise InputError(f"--accept {gate}:PARTITION, of the partitions {known}", repr(partition), "name one of them")
    return Acceptance(gate, meant[0])


def _accepted(one: GateResult) -> GateResult:
    _log.warning("accepted: %s is %g, %s %g was asked: %s", one.place, one.value, one.op, one.bound, one.advice)
    return one.model_copy(update={"accepted": True})


def _covers(acceptance: Acceptance, result: GateResult) -> bool:
    return acceptance.gate == result.name and acceptance.partition in (None, result.partition)
