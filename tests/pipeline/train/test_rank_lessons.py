"""What a re-ranker is shown of judged queries."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lookup.query import Query
from lookup.search import Reader
from pipeline.catalog.questions import Question
from pipeline.evaluate.exact_search import parts_of
from pipeline.evaluate.judgments import AnswerableQuery, JudgedQuery
from pipeline.train.rank_lessons import features_of, lessons_of
from tests.support.understood import shop


def test_features_are_of_the_words_that_searches_look_for(tmp_path: Path) -> None:
    """Where the snapshot understands its queries, a lesson holds titles against the words that are left, as a search
    does.
    """
    reader = Reader.open(str(shop(tmp_path, "search.understand.always=true")))
    text, features = "boots number 4 under 20 euros", features_of(reader, [])
    judged = JudgedQuery(Question("a", text, None), None, {})
    (lesson,) = lessons_of(
        reader,
        [AnswerableQuery(judged, "all", None, {}, {})],
        parts_of(reader.store, reader.manifest),
        features,
        10,
        None,
    )
    query, _ = reader.understand(Query(text, k=10))
    assert query.text == "boots number 4"
    seen = features.matrix(query.text, reader.candidates(query))
    np.testing.assert_array_equal(lesson.features, seen)
    assert set(lesson.features[:, features.names.index("query_words")]) == {3.0}
