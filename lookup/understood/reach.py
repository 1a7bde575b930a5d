"""How far the text tower reads a query: what stands behind that does not count, and that is said."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from encoders.base import encoder_spec
from encoders.networks.token_counts import token_counts
from foundation.errors import InputError
from lookup.store.manifest import EncoderEntry

_SPECIAL = 8  # tokens beside those of the text, of which none is shorter than a byte
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reach:
    """What the text tower of a snapshot reads of a text."""

    text: EncoderEntry | None
    most_chars: int  # of a text, as of a product's

    def notes(self, text: str) -> tuple[str, ...]:
        """What is told of a text of which the end does not reach the tower; nothing of one that it reads whole, or of
        which that is not known.
        """
        if len(text) > self.most_chars:
            return (f"the text tower reads the first {self.most_chars:,} characters of {len(text):,}",)
        if self._tokens is None or len(text.encode(errors="replace")) + _SPECIAL <= self._tokens[1]:
            return ()
        folder, most = self._tokens
        try:
            (count,) = token_counts(folder, [text]) or [0]
        except (ImportError, ValueError) as err:  # what is wrong with the model is told by whoever loads it
            _log.debug("no tokens are counted: %s", err)
            return ()
        return (f"the text tower reads the first {most:,} tokens of {count:,}",) if count > most else ()

    # Once for all queries.
    @cached_property
    def _tokens(self) -> tuple[Path, int] | None:
        """The folder of the tokenizer, and how many tokens the model reads; None where it reads all."""
        if self.text is None:
            return None
        try:
            return encoder_spec(dict(self.text.fields)).reads_tokens()
        except (InputError, ValidationError, ValueError, OSError) as err:
            _log.debug("no tokens are counted: %s", err)
            return None
