"""Gates on rows that are lost between the catalog and the snapshot, and on products at all."""

from __future__ import annotations

from lookup.manifest import Manifest
from pipeline.gates.result import Scope, most, result, share
from pipeline.reasons import fix_of_most
from pipeline.report import GateResult


def products(manifest: Manifest) -> GateResult:
    """Whether there is anything to be found."""
    return result("products", manifest.rows, ">=", 1, "products that can be found", "look at the rejects by reason")


def reject_share(manifest: Manifest, bound: float, scope: Scope) -> GateResult:
    """Rejected rows per row read."""
    rejects = manifest.rejects(scope)
    value = share(rejects.total(), rejects.total() + manifest.rows_in(scope))
    fix = f"{fix_of_most(rejects)}; if it is right to leave these rows out, raise gates.max_reject_share"
    return result("reject_share", value, "<=", bound, most(rejects, "rejected"), fix)


def degraded_share(manifest: Manifest, bound: float, scope: Scope) -> GateResult:
    """Rows that lost a modality per row embedded."""
    degraded = manifest.degraded(scope)
    value = share(degraded.total(), manifest.rows_in(scope))
    fix = f"{fix_of_most(degraded)}; if these are gone for good, raise gates.max_degraded_share"
    return result("degraded_share", value, "<=", bound, most(degraded, "degraded"), fix)


def photos_lost_share(manifest: Manifest, bound: float, least: int, scope: Scope) -> GateResult:
    """Photos that could not be read per photo of the rows embedded; a product may lose one of two and not be degraded.

    Also the photos of degraded rows count: they have lost all of theirs.
    """
    photos, lost = manifest.photos(scope)
    value = share(lost, photos)
    kinds = [one for one in manifest.details(scope) if one.outcome != "rejected"]
    where = f"{lost:,} of {photos:,} photos lost"
    if kinds:
        where += f", most rows for {kinds[0].reason} ({kinds[0].detail})"
    if value > bound and lost < least:
        where += f"; fewer than gates.least_rows={least:,}, so nothing is stopped"
    fix = "look whether the photos can be reached; if they are gone for good, raise gates.max_photos_lost_share"
    return result("photos_lost_share", value, "<=", bound, where, fix, lost >= least)
