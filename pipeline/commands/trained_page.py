"""What a training on clicks made of the queries of held-out days, for people."""

from __future__ import annotations

from encoders.training.clicks import BOTH, VERDICT, ClickFigures
from encoders.training.trainer import Trained
from foundation.errors import GateError
from foundation.ranking_metrics import FEWEST
from pipeline.engine.printing import echo, table


def print_comparison(found: ClickFigures) -> None:
    """The trained model beside the one that it began with."""
    echo(
        f"held-out days: {found.queries:,} queries over {found.products:,} products, by the model's own scores; the "
        "difference with its 95% bootstrap interval"
    )
    rows = [
        [score, name, f"{one['start']:.3f}", f"{one['trained']:.3f}", _difference(one)]
        for score, figures in found.figures.items()
        for name, one in figures.items()
    ]
    table(["score of", "figure", "start", "trained", "difference"], rows)


def refusal(trained: Trained) -> GateError | None:
    """Why a trained model is not to be taken: it is not better on held-out days; None where it is, or nothing was held
    out.
    """
    found = trained.clicks
    if found is None or found.better:
        return None
    one = found.figures[BOTH][VERDICT]
    return GateError(
        f"{VERDICT} on the held-out days above that of the model that the training began with, interval and all, over "
        f"{FEWEST} queries or more",
        f"{one['start']:.3f} -> {one['trained']:.3f}, {_difference(one)}, over {found.queries:,} queries",
        f"keep the model that you have, or try other settings or more days; {trained.folder} stands, --accept worse "
        "takes it",
    )


def _difference(one: dict[str, float]) -> str:
    mean, low, high = (round(one[name], 3) + 0.0 for name in ("mean", "low", "high"))
    return f"{mean:+.3f} {low:+.3f}..{high:+.3f}"
