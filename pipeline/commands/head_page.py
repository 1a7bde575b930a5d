"""What `vitrine train head` prints: the figures of each length, and how the head is used."""

from __future__ import annotations

from encoders.heads.folder import Figure
from pipeline.engine.printing import document, echo, table
from pipeline.train.heads import TrainedHead


def print_head(result: TrainedHead, as_json: bool) -> None:
    """The head, what it was learned from, and what it does for groups that it did not see."""
    told = result.settings
    if as_json:
        document({"folder": str(result.folder), "seconds": result.seconds, **told.model_dump(mode="json")})
        return
    held_out, best = told.held_out, told.chosen
    rows = [] if held_out.before is None else [["no head", *_cells(held_out.before)]]
    rows += [
        [f"{one.dim} (taken)" if one == best else str(one.dim), *_cells(one)]
        for one in held_out.after
        if one.ridge == best.ridge
    ]
    table(["dimensions", "ridge", "recall", "lost or won", "precision@1"], rows)
    groups = told.groups
    echo(
        f"{held_out.queries:,} products of groups that were held out, asked among {held_out.rows:,}; learned from "
        f"{groups.rows:,} products in {groups.groups:,} groups by {groups.by}, {groups.shared:,} of two or more"
    )
    # a bare name is one of models.lock
    head = str(result.folder) if "/" in str(result.folder) else f"./{result.folder}"
    keys = " ".join(f"fusion.{modality}_head={head}" for modality in told.shapes)
    shapes = ", ".join(f"{modality} {before} to {after}" for modality, (before, after) in told.shapes.items())
    echo(f"{result.folder}: {told.type}, {shapes} dimensions, in {result.seconds:.1f} s; use it as {keys}")


def _cells(one: Figure) -> list[str]:
    won = "" if one.won is None else f"{one.won:+.3f} +- {2 * (one.error or 0):.3f}"
    ridge = "" if one.ridge is None else f"{one.ridge:g}"
    return [ridge, f"{one.recall:.3f}", won, f"{one.precision_at_1:.3f}"]
