"""The `lexical:` section of the config: which texts are searched by their words, and how much that counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainValidator

from pipeline.config.section import Name, Section, Switch, words

AUTO = "auto"
HALF = 0.5  # the share that no judged query has tuned
_TITLE, _ELSE = 2.0, 1.0  # weights of `title` and of other columns, unless they are given

Weight = Annotated[float, Field(gt=0, le=1_000, strict=True)]


def _share_or_auto(value: object) -> float | str:
    if value == AUTO or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1):
        return value if isinstance(value, str) else float(value)
    raise ValueError("a share from 0 to 1, or `auto`")


class JudgedConfig(Section):
    """Queries whose products are known, as `vitrine eval` takes them."""

    queries: Name = Field(description="Parquet file of queries: query_id, text, image, category")
    qrels: Name = Field(description="Parquet file of their products: query_id, id, gain")


class LexicalConfig(Section):
    """The lexical half: an index of words for each partition, beside that of embeddings."""

    fields: dict[Name, Weight] = Field(
        {},
        description="canonical column: weight of its words; empty: the columns of catalog.text, title 2.0, others 1.0",
    )
    languages: Annotated[tuple[Name, ...], BeforeValidator(words)] = Field(
        ("english",),
        description="languages whose words are known by their stems, as Snowball names them: [english, german]; []: "
        "words as they are written",
    )
    stop_words: Switch = Field(
        True, description="leave words such as `the`, of the languages, out of queries that have others"
    )
    synonyms: Name | None = Field(
        None,
        description="file of words that queries find beside their own, a group a line: `sofa, couch`, one way "
        "`laptop => notebook`; relative to the current directory; null: none",
    )
    weight: Annotated[float | Literal["auto"], PlainValidator(_share_or_auto)] = Field(
        HALF,
        description="share of the lexical half in a score, 0 to 1; auto: tuned on the judged queries, 0.5 without any",
    )
    judged: JudgedConfig | None = Field(
        None, description="judged queries that weight: auto is tuned on, {queries: FILE, qrels: FILE}; null: none"
    )

    def weights(self, text: Sequence[str]) -> dict[str, float]:
        """Canonical column -> weight of its words, of a catalog whose text is made of the columns `text`."""
        return dict(self.fields) or {name: _TITLE if name == "title" else _ELSE for name in text}
