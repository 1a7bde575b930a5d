"""What features read of products: prices of one currency, whatever the shop sells in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lookup.candidates import Candidates
from lookup.rerank.values import Values
from lookup.search import Reader
from tests.support.understood import shop


@pytest.mark.parametrize(
    ("currency", "first"),
    [
        ([" EUR", " EUR", " USD", ""], [0.5, 1.5, None, None]),
        ([" USD", " EUR"], [None, 1.5, None, 3.5]),  # as many: the first by name
        ([" USD", ""], [0.5, 1.5, 2.5, 3.5]),  # of one currency the numbers compare
    ],
)
def test_prices_of_several_currencies_are_not_mixed(
    tmp_path: Path, currency: list[str], first: list[float | None]
) -> None:
    """Of candidates those count whose prices are in the currency that most have; the others have none."""
    reader = Reader.open(str(shop(tmp_path, currency=currency)))
    (name,) = reader.opened.partitions
    found = Candidates.of([name], [(np.zeros(4, np.float32), np.arange(4))])
    values = Values(reader.opened, "title", ["price", "rating"]).of(found)[1]
    assert values["price"] == pytest.approx([np.nan if one is None else one for one in first], nan_ok=True)
    assert not np.isnan(values["rating"]).any()
