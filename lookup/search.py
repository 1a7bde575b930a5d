"""Search: one query over one or all partitions of a published snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn

import pyarrow as pa

from encoders.photos.golden import golden_photos
from foundation.arrays import Vectors
from foundation.errors import InputError
from foundation.metric import Metric
from lookup.by_words import ByWords
from lookup.candidates import Candidates
from lookup.collapse import Duplicates
from lookup.dense import dense_candidates
from lookup.filters.rows import Filters
from lookup.filters.where import Where, parsed
from lookup.halves import Within, Words, hybrid_candidates
from lookup.hit import Found, Hit
from lookup.index.partition_index import STEADY, PartitionIndex
from lookup.meant import partitions_meant
from lookup.opened import Opened
from lookup.personal.moved import Moved, Personal
from lookup.personal.wishes import checked_ids
from lookup.query import Query, QueryEncoder, by_keywords
from lookup.rerank.rerank import Ranker
from lookup.segments import Partition, Segments, of_other_rows
from lookup.store.entries.index_record import made_of
from lookup.store.entries.understand_settings import settings_of
from lookup.store.manifest import Manifest, PartitionEntry
from lookup.store.shards import Shards
from lookup.store.store import Store
from lookup.understood.boosts import add_boosts, depth_of
from lookup.understood.categories import KEPT, Categories, LikelyFirst
from lookup.understood.meaning import Understood
from lookup.understood.rated_like import as_rated, least_rating
from lookup.understood.reach import Reach
from lookup.why.explain import explain_hits

if TYPE_CHECKING:
    from lookup.understood.understand import Understanding


@dataclass(frozen=True)
class Reader:
    """An open snapshot. It stays what it was when a new one is published; threads may share it."""

    snapshot: str
    opened: Opened
    _queries: QueryEncoder
    by_words: ByWords
    _personal: Personal
    ranker: Ranker | None
    _duplicates: Duplicates

    @classmethod
    def open(cls, path: str, partitions: Sequence[str] | None = None, device: str = "cpu") -> Reader:
        """Open the published snapshot of the store at `path`, or only some of its partitions.

        Every file's digest is checked before it is opened; InputError when nothing is published or a partition is
        unknown, IntegrityError when a file is missing, cut or altered.
        """
        store = Store.open(path)
        return cls.of(store, *store.published(), partitions, device)

    @classmethod
    def of(
        cls,
        store: Store,
        snapshot: str,
        manifest: Manifest,
        partitions: Sequence[str] | None = None,
        device: str = "cpu",
    ) -> Reader:
        """The same of a manifest, published or not, that is called `snapshot`."""
        known = {partition.name: partition for partition in manifest.partitions}
        catalog = manifest.config["catalog"]
        chosen = list(known.values())
        if partitions is not None:
            chosen = [
                *{one.name: one for name in partitions for one in partitions_meant(name, known, catalog)}.values()
            ]
        opened = {one.name: open_partition(store, one, manifest.shards) for one in chosen}
        segments = Segments(store, snapshot)
        filters = Filters(segments, manifest.attributes, catalog)
        whole = Opened(store, manifest, opened, segments, filters, Words.of(store, manifest, [*opened]))
        queries = QueryEncoder.of(manifest, device)
        personal = Personal.of(whole, queries.fusion)
        return cls(
            snapshot, whole, queries, ByWords(whole, queries), personal, Ranker.of(whole), Duplicates(store, chosen)
        )

    @property
    def store(self) -> Store:
        """The store that it was opened from."""
        return self.opened.store

    @property
    def manifest(self) -> Manifest:
        """The manifest of the snapshot."""
        return self.opened.manifest

    @property
    def categories(self) -> list[str]:
        """The partitions that can be searched."""
        return list(self.opened.partitions)

    def ids(self, category: str) -> pa.ChunkedArray:
        """(rows,) string: the ids of a partition, by position."""
        return self.opened.partitions[category].index.id_column

    def load(
        self, text: bool = False, image: bool = False, rerank: bool = True, understand: bool | None = None
    ) -> None:
        """Load what queries by text, by photo, or by both need, by asking once: the first query pays for that else."""
        if not text and not image:  # by products: their vectors are read when they are asked for
            return
        if text:
            self.understand(Query("a", understand=understand))
        asked = self._queries.embed("a" if text else None, golden_photos(".jpg")[0] if image else None)
        self.search_vector(asked, k=1)
        if self.ranker is not None and rerank:
            self.ranker.load()

    @by_keywords(Query)
    def search(self, query: Query) -> list[Hit]:
        """The `k` best products for a text, a photo (a file's bytes), or both; over all partitions unless `category`
        names one, in any spelling that means it (`home &amp; garden`).

        There are always `k` of them where so many products meet what is asked, else all that do. The first hits are the
        same for every `k` up to 100, and for every `k` where all indexes are exact and nothing but these is asked.

        Scores are those of the snapshot's metric, so hits of different partitions compare (partition_index.py says how
        true they are); equal ones are in order of partition and position. Where a product has a word of the text, 1
        is a perfect match (halves.py), and words have the share `lexical_weight`. `nprobe` replaces the tuned one of
        indexes that are not exact; where it leads to too few products, more is searched all the same.

        `where` are conditions on attributes, see filters/where.py: only products for which all hold are searched and
        returned. With `understand`, so are conditions that the text names, as in `under 20 euros`; see `understand`.
        With `explain`, each hit says why it is there (lookup/why/why.py). `like` and `history` are ids of products, see
        lookup/personal/wishes.py: those of `like`, and of a history that is asked by alone, are no hits. `rated_like`
        leaves what is rated below all of `like` out. A re-ranker of the snapshot puts the first hits in its order, and
        `score` is what it was; not with `rerank=False`. With `collapse`, True or the name of a kind (`photo`, `near`,
        `group`), one product of each group of near-duplicates is a hit, the best; there are `k` where there are so many
        groups. `Hit.others` counts the rest.
        """
        return self.answer(query)

    def answer(self, query: Query) -> list[Hit]:
        """The hits of `query`, as `search` gives them."""
        return self.found(query).hits

    def found(self, query: Query) -> Found:
        """The hits of `query`, and what was understood and made of it."""
        query, understood = self.understand(query)  # before it is embedded
        kind, moved = self._duplicates.kind(query.collapse), self._moved(query)
        if kind is None:
            found = self._ordered(moved, query, query.k).first(query.k)
            hits = self.opened.hits(found)
        else:
            each = self._duplicates.best_of_each(lambda k: self._ordered(moved, query, k), kind, query.k)
            found = each.hits
            hits = [
                replace(hit, others=others) for hit, others in zip(self.opened.hits(found), each.others, strict=True)
            ]
        reranked = self.ranker.told(query) if self.ranker is not None and hits else None
        answer = Found(hits, self._told(query, found, understood), moved.history, reranked)
        if not query.explain or not hits:
            return answer
        within = self.opened.within(query)
        reasons = explain_hits(self.opened, self._queries, query, found, within)
        return replace(answer, hits=[replace(hit, why=why) for hit, why in zip(hits, reasons, strict=True)])

    def understand(self, query: Query) -> tuple[Query, Understood]:
        """What is searched for `query`, and what was understood: conditions and boosts that its text names are beside
        those that it has, and the text is what is left to look for. The query as it is where nobody asks for that,
        neither `Query.understand` nor the snapshot's config; that a text is longer than its tower reads is always told.
        InputError for what cannot be asked.
        """
        query = query.checked()
        if query.lexical_weight and self.opened.words is None:
            came = f"lexical_weight: {query.lexical_weight}, of one that is not"
            raise InputError("a snapshot that is searched by words", came, "run with `lexical`, or leave it out")
        wanted = settings_of(self.manifest.config).always if query.understand is None else query.understand
        rated = self._rated_like(query) if query.rated_like or (query.like and query.text and wanted) else None
        understood = Understood(query.text)
        if query.text is not None:
            understood = self._understanding.understand(query.text, rated) if wanted else understood
            notes = (*understood.notes, *self._reach.notes(understood.text or query.text))
            understood = replace(understood, notes=notes)
        if query.rated_like:
            said = as_rated(self._understanding.rating, rated)
            understood = replace(understood, meanings=(*understood.meanings, said))
        where = (*parsed(query.where), *understood.where)
        text = None if understood.text is None else self._queries.clean(understood.text)
        more = replace(query, text=text, where=where, boosts=(*query.boosts, *understood.boosts))
        return replace(more, understand=False, rated_like=False), understood

    def _rated_like(self, query: Query) -> str | None:
        """How the products of `like` are rated at least; None where none is."""
        known = self._personal.places.known(query.like, "like")
        return least_rating(self.opened, self._understanding.rating, [places[0] for places in known])

    def _told(self, query: Query, found: Candidates, understood: Understood) -> Understood:
        """What was understood, and how many categories were searched where these are not all."""
        if query.category is not None or query.all_categories or self._likely_first is None:
            return understood
        searched, there = len(found.partitions), len(self.opened.within(query))
        if searched == there:
            return understood
        note = f"searched {searched:,} of {there:,} categories, the likeliest"
        return replace(understood, notes=(*understood.notes, note))

    def _ordered(self, moved: Moved, query: Query, k: int) -> Candidates:
        """`k` candidates or more in their order, by the re-ranker where there is one."""
        if self.ranker is None:
            return self._found(moved, query, k)
        found = self._found(moved, query, self.ranker.depth(replace(query, k=k)))
        return self.ranker.reordered(query, found)

    def candidates(self, query: Query) -> Candidates:
        """The first `query.k` candidates, best first, as a re-ranker is given them."""
        query, _ = self.understand(query)
        return self._found(self._moved(query), query, query.k)

    def known(self, ids: Sequence[str]) -> list[bool]:
        """Whether each of `ids` is in what can be searched."""
        return [bool(places) for places in self._personal.places.of(checked_ids(ids, "ids"))]

    def search_vector(
        self,
        xq: Vectors,
        category: str | None = None,
        k: int = 10,
        nprobe: int | None = None,
        where: Where = (),
    ) -> list[Hit]:
        """The `k` best products for a query vector, (1, dim) float32, by the embedding alone; else as `search`."""
        query = Query(category=category, k=k, nprobe=nprobe, where=where, all_categories=True).parsed()
        return self.opened.hits(self._ranked(xq, query, query.k).first(query.k))

    def _moved(self, query: Query) -> Moved:
        xq = self._queries.embed(query.text, query.image) if query.by_words else None
        return self._personal.moved(xq, query.like, query.history, query.weights, query.mix)

    def _found(self, moved: Moved, query: Query, k: int) -> Candidates:
        """The steps of a search up to the re-ranker, each on what the one before it found
        (docs/explanation/architecture.md): the first `k`.
        """
        # as deep for every k up to STEADY, whatever is left out
        depth = max(k, STEADY) + len(moved.apart) if moved.apart else k
        return self._ranked(moved.vector, query, depth).without(moved.apart).first(k)

    def _ranked(self, xq: Vectors, query: Query, k: int) -> Candidates:
        """What the embeddings find, and the words where the snapshot is searched by them, with boosts: `k` or more."""
        within = self.opened.within(query)
        depth = depth_of(k, query.boosts)
        asked = self.by_words.asked(query.text, query.lexical_weight, within)
        if asked is None:
            within = self._likely(xq, query, within, k)
            found = dense_candidates(xq, within, depth, query.nprobe)
        else:
            # of a text beside a photo, words are one of two things that are asked for
            share = 0.5 if query.image is not None and query.lexical_weight is None else 1.0
            found = hybrid_candidates(xq, asked[0], within, depth, query.nprobe, share * asked[1])
        return add_boosts(found, [partition for partition, _ in within], self.opened.filters, query.boosts, k)

    def _likely(self, xq: Vectors, query: Query, within: Within, k: int) -> Within:
        """Those of the partitions that are searched by vectors alone: the likely ones of many, with `k` rows."""
        if query.category is not None or query.all_categories or self._likely_first is None:
            return within
        return self._likely_first.chosen(xq, within, max(k, STEADY))

    # Once for all queries.
    @cached_property
    def _likely_first(self) -> LikelyFirst | None:
        """What leaves unlikely categories out; None where all are searched."""
        record, settings = self.manifest.understanding, settings_of(self.manifest.config)
        if settings.categories == "off" or record is None or record.figures is None or record.figures.kept < KEPT:
            return None
        categories = Categories.open(self.store, record, Metric(self.manifest.metric))
        return LikelyFirst(categories, settings.unsearched, record.figures.fewest)

    @cached_property
    def _reach(self) -> Reach:
        return Reach(self.manifest.text, self.manifest.config["catalog"]["max_text_chars"])

    @cached_property
    def _understanding(self) -> Understanding:
        from lookup.understood.understand import Understanding  # with lark, which other queries need not wait for

        return Understanding(self.manifest, self.opened.filters, tuple(self.opened.partitions.values()))

    def __reduce__(self) -> NoReturn:
        """A reader holds mapped files and locks, and stays at its snapshot: another process opens its own."""
        raise InputError(
            "a reader in the process that opened it",
            "an attempt to pickle or copy it",
            "open the store in each process: lookup.open(path); threads may share one reader",
        )

    def explain_filter(self, where: Where, category: str | None = None) -> str:
        """How many products meet `where`, for people, and what may have been meant where none does; errors are those
        of `search`.
        """
        return self.opened.filters.explain_filter(self.opened.searched(category), parsed(where))


def open_partition(store: Store, partition: PartitionEntry, shards: Shards) -> Partition:
    """The index of a partition, opened for search after its digests were checked, and where its rows lie;
    IntegrityError where it was built of others.
    """
    record, opened = partition.index, shards.segments.of(partition.name)
    if record.made_of not in (None, made_of(opened.digests)):
        raise of_other_rows(partition, "it was built of other segments than those of the partition")
    index = PartitionIndex.open({role: store.verified(file) for role, file in record.files.items()}, record)
    return Partition(partition.name, index, opened, shards.entries)
