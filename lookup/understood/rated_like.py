"""`rated like this`: products that are rated as well as those that hits are to be like, or better."""

from __future__ import annotations

from collections.abc import Sequence

from foundation.errors import InputError
from lookup.filters.values import Operator
from lookup.filters.where import Condition
from lookup.hit import value_of
from lookup.opened import Opened
from lookup.personal.places import Place
from lookup.understood.meaning import Meaning


def least_rating(opened: Opened, name: str | None, places: Sequence[Place]) -> str | None:
    """The lowest value of the attribute `name` of the products at `places`, as a condition has it; None where there is
    no such attribute, or none of them has one.
    """
    if name is None:
        return None
    found = (opened.attributes(place.partition, place.position).get(name) for place in places)
    known = [one for one in map(value_of, (one for one in found if one is not None)) if one is not None]
    return str(min(known)) if known else None


def as_rated(name: str | None, least: str | None) -> Meaning:
    """The filter of `Query.rated_like`; InputError where nothing says how well the products are rated."""
    if name is None:
        fix = "name it as search.understand.rating, or leave rated_like out"
        raise InputError("an attribute of ratings that are numbers", "a snapshot without one", fix)
    if least is None:
        raise InputError(f"a {name} of the products to be like", "none of them has one", "leave rated_like out")
    return Meaning("rating", "rated_like", Condition(name, Operator.AT_LEAST, (least,)), "filter")
