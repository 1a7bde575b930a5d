"""What is known of an encoder that is not loaded, and whether it is the one that something was learned on."""

from __future__ import annotations

from dataclasses import dataclass, field

from encoders.base import EncoderSpec, Modality
from foundation.errors import InputError
from foundation.identity import describe_parts, differing


@dataclass(frozen=True)
class Tower:
    """What a fusion may know of an encoder that is not loaded: the length of its vectors, and its identity, with what
    that is made of, by name; and of one that joins several the lengths of theirs. `by_field`: a member has zeros where
    a product lacks the column that it reads.
    """

    dim: int
    identity: str
    parts: dict[str, str] = field(default_factory=dict, compare=False)
    members: tuple[int, ...] = ()
    by_field: bool = False

    @classmethod
    def of(cls, spec: EncoderSpec | None, modality: Modality) -> Tower | None:
        """The tower of `modality` that `spec` describes."""
        if spec is None:
            return None
        members = tuple(one.dim for one in spec.joined)
        return cls(spec.dim, spec.identity, spec.parts_for(modality), members, bool(spec.text_fields))


def dims_of(text: Tower | None, image: Tower | None) -> tuple[int | None, int | None]:
    """The lengths of both towers' vectors; None for one that is absent."""
    return text.dim if text else None, image.dim if image else None


def refuse_other_tower(what: str, trained: tuple[str, dict[str, str]], tower: Tower | None, fix: str) -> None:
    """InputError unless `tower` is the one of identity and parts `trained` (empty parts: not known); `what` names it
    and what was trained on it, `fix` says what to do.
    """
    identity, parts = trained
    if tower is not None and tower.identity == identity:
        return
    there, here = f"identity {identity[:16]}", f"identity {tower.identity[:16]}" if tower else "none"
    others = differing(parts, tower.parts) if parts and tower is not None and tower.parts else []
    if others and tower is not None:
        there, here = describe_parts(others, parts), describe_parts(others, tower.parts)
    raise InputError(f"{what}: {there}", here, fix)
