"""Texts of which a model reads the beginning, counted by its own tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoders.types.hashed_text import Spec
from lookup.store.manifest import EncoderEntry
from lookup.understood.reach import Reach

tokenizers = pytest.importorskip("tokenizers")


def test_tokens_beyond_what_the_model_reads_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both numbers are said, of a text that has more; in Chinese a character is a token or more."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setattr(Spec, "reads_tokens", lambda _: (tmp_path, 12))
    reach = Reach(EncoderEntry(fields={"type": "hashed_text", "dim": 32}, identity="", dim=32), 1000)
    assert reach.notes("red dress " * 6) == ()
    assert reach.notes("red dress " * 7) == ("the text tower reads the first 12 tokens of 14",)
    assert reach.notes("红 " * 13) == ("the text tower reads the first 12 tokens of 13",)
    assert reach.notes("red") == ()
    assert Reach(None, 1000).notes("red " * 20) == ()
