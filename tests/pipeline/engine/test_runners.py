"""The same totals and the same bytes on every runner, with any number of workers, and after any failure in one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import DirectOptions
from apache_beam.runners.portability.fn_api_runner import translations

import lookup
from foundation.errors import InputError, IntegrityError, VitrineError
from lookup.store.store import Store
from pipeline.config.encoding import encoding_identity
from pipeline.config.load import Config, load_config
from pipeline.embed import transforms
from pipeline.embed.earlier.earlier_vectors import offer_vectors
from pipeline.embed.element import Row, UnitKey, UnitRows, UnitRowsConverter
from pipeline.embed.stage import Embed
from pipeline.embed.transforms import EmbedJob
from pipeline.embed.tries import Standing
from pipeline.engine import failures, runners
from pipeline.plan.forecast import unbounded
from pipeline.plan.units import Unit, make_plan
from tests.support.command import config_for, run
from tests.support.stores import manifest_of, products, publications

PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
PROCESS = (PROCESSES[0], "--direct_num_workers=1")  # each takes seconds to start, in every pipeline again
PORTABLE = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")
IN_MEMORY = ("--direct_running_mode=in_memory",)
TOO_MANY_LISTS = ("index.exact_below=512", "index.large={type: ivf_pq, nlist: 500}")
RUNNERS = {
    "one thread": ("--direct_num_workers=1",),
    "three threads": ("--direct_num_workers=3",),
    "in memory": IN_MEMORY,
    "processes": PROCESSES,
    "portable": PORTABLE,
}


@pytest.fixture(scope="module")
def reference(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of an undisturbed run on the default local runner with two threads."""
    store = tmp_path_factory.mktemp("reference") / "store"
    report = run(config_for(demo, store))
    assert (report.rows_in, report.rows_embedded, report.units) == (120, 120, 4)
    return store


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """600 short texts in 4 row groups with page checksums: a catalog that a test may damage."""
    ids = [f"p{i}" for i in range(600)]
    table = pa.table({"id": ids, "title": [f"thing {i} of {i % 7}" for i in range(600)]})
    path = tmp_path / "catalog.parquet"
    pq.write_table(table, path, row_group_size=150, write_page_checksum=True, compression="none", use_dictionary=False)
    return path


def text_config(catalog: Path, store: Path, *more: str) -> Config:
    """Texts only, in units of one row group."""
    fixed = ["catalog.text=[title]", "catalog.image=null", "encoders.image=null", "shards.unit_rows=150"]
    return load_config(None, [f"catalog.path={catalog}", f"store.path={store}", *fixed, *more], {}).config


def job_of(config: Config, run: str, root: Path) -> EmbedJob:
    """What the steps of the embed stage are told in a run by `config`."""
    embedding = config.settings.embedding
    earlier = offer_vectors(Store.create(config.store.path), embedding, f"parts/{run}", [], None).path
    return EmbedJob(embedding, encoding_identity(embedding), config.store.path, str(root), run, 2, earlier)


def fused_stages(transform: beam.PTransform) -> list[list[str]]:
    """The stages that Beam's own translations make of a pipeline: of each, the names of its transforms."""
    pipeline = beam.Pipeline()
    _ = pipeline | "Units" >> transform
    _, stages = translations.create_and_optimize_stages(
        pipeline.to_runner_api(),
        translations.standard_optimize_phases(),
        known_runner_urns=frozenset([translations.common_urns.primitives.GROUP_BY_KEY.urn]),
    )
    return [[t.unique_name.split("/", 1)[-1] for t in stage.transforms] for stage in stages]


def test_embedding_is_one_fused_stage_that_only_units_reach(demo: Path, tmp_path: Path) -> None:
    """From ReadUnit to FuseAndWrite nothing is shuffled, and what is shuffled before it is a Unit."""
    config = config_for(demo, tmp_path / "store")
    units = make_plan(config.settings.embedding, config.gates).units
    stages = fused_stages(Embed(job_of(config, "run", demo), units))
    steps = ["ReadUnit", "EncodeTexts", "EncodePhotos", "FuseAndWrite"]
    holding = [stage for stage in stages if any(step in stage for step in steps)]
    assert len(holding) == 1
    assert [name for name in holding[0] if name in steps] == steps
    assert len(stages) > 1  # the shuffle was seen at all
    pipeline = beam.Pipeline()
    spread = pipeline | beam.Create(units).with_output_types(Unit) | beam.Reshuffle()
    assert spread.element_type is Unit
    graph = Embed(job_of(config, "run", demo), units).expand(beam.Pipeline())
    assert graph.producer.inputs[0].producer.inputs[0].producer.inputs[0].producer.inputs[0].element_type is Unit


def test_no_model_travels_with_the_graph(demo: Path, tmp_path: Path) -> None:
    """Steps name their encoders, and load them where they work: Beam looks at all attributes of a step, and pickles
    what it finds.
    """
    more = ("encoders.text={type: dual, model: builtin}", "encoders.image={type: dual, model: builtin}")
    config = config_for(demo, tmp_path / "store", *more)
    units = make_plan(config.settings.embedding, config.gates).units
    pipeline = beam.Pipeline()
    _ = pipeline | "Units" >> Embed(job_of(config, "run", demo), units)
    assert pipeline.to_runner_api().ByteSize() < 200_000


def test_a_batch_never_becomes_elements() -> None:
    """Beam's silent element mode, 20 times slower, is an error that says which stages must stay adjacent."""
    converter = UnitRowsConverter.from_typehints(Row, UnitRows)
    batch = UnitRows(UnitKey(0, 1), Standing("inputs"), pa.table({"a": [1]}))
    with pytest.raises(TypeError, match="ReadUnit to"):
        converter.explode_batch(batch)
    with pytest.raises(TypeError, match="ReadUnit to"):
        converter.produce_batch([Row(1)])
    assert converter.get_length(batch) == 1
    with pytest.raises(TypeError, match="UnitRows"):
        UnitRowsConverter.from_typehints(Row, list)


@pytest.mark.parametrize("arguments", RUNNERS.values(), ids=RUNNERS.keys())
def test_every_runner_writes_the_same_bytes(
    demo: Path, reference: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Totals are exact, shards and indexes are byte-equal, and the manifest's content is equal."""
    store = tmp_path / "store"
    report = run(config_for(demo, store), *arguments)
    assert (report.rows_in, report.rows_embedded, report.rows_rejected, report.units) == (120, 120, 0, 4)
    assert products(store) == products(reference)
    assert manifest_of(store).content == manifest_of(reference).content


def vectors(store: Path) -> dict[str, bytes]:
    """The embedding of each id, over all shards of the snapshot."""
    found: dict[str, bytes] = {}
    for shard in manifest_of(store).shards.entries:
        assert shard.file is not None
        table = pq.read_table(store / shard.file.path, columns=["id", "embedding"])
        for name, vector in zip(table["id"].to_pylist(), table["embedding"].to_pylist(), strict=True):
            found[name] = np.array(vector, dtype=np.float32).tobytes()
    return found


def test_other_units_give_other_shards_and_the_same_answers(demo: Path, reference: Path, tmp_path: Path) -> None:
    """How rows are cut into units changes no vector and no answer."""
    store = tmp_path / "store"
    assert run(config_for(demo, store, "shards.unit_rows=1000")).units == 1
    assert set(products(store)) != set(products(reference))
    assert vectors(store) == vectors(reference)
    one, four = lookup.open(str(store)), lookup.open(str(reference))
    for text in ("red dress", "blue", "红色连衣裙"):
        assert [(h.id, h.score) for h in one.search(text=text)] == [(h.id, h.score) for h in four.search(text=text)]


# --- failures ---


def failing(monkeypatch: pytest.MonkeyPatch, number: int, err: BaseException) -> Callable[[], None]:
    """Let reading unit `number` raise, until the returned function is called."""
    read = transforms.read_fingerprinted

    def fail(unit: Unit, *rest: Any) -> pa.Table:
        if unit.number == number:
            raise err
        return read(unit, *rest)

    monkeypatch.setattr(transforms, "read_fingerprinted", fail)
    return lambda: monkeypatch.setattr(transforms, "read_fingerprinted", read)


@pytest.mark.parametrize("number", range(4))
def test_a_worker_that_raises_costs_only_its_unit(
    demo: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoded: list[str], number: int
) -> None:
    """After a failure at the k-th unit the next run encodes just what is missing and ends in the same bytes."""
    config = config_for(demo, tmp_path / "store")
    mend = failing(monkeypatch, number, MemoryError("no room"))
    with pytest.raises(VitrineError, match="no room"):
        run(config, "--direct_num_workers=1")  # of several, the others may be at work on a unit still
    assert not publications(tmp_path / "store")
    before = len(encoded)
    mend()
    report = run(config)
    assert len(encoded) == 120
    assert report.units_reused == before // 30
    assert report.rows_embedded == 120
    assert products(tmp_path / "store") == products(reference)


def test_a_unit_done_twice_at_once_leaves_what_once_leaves(demo: Path, reference: Path, tmp_path: Path) -> None:
    """Two workers that do the same units at the same time, as a retried bundle does, change nothing."""
    config, store = config_for(demo, tmp_path / "store"), Store.create(str(tmp_path / "store"))
    job, start = job_of(config, "twice", demo), threading.Barrier(2)

    def work(unit: Unit) -> list[transforms.Done]:
        do_fns: list[Any] = [
            transforms.ReadUnit(job),
            transforms.EncodeTexts(job),
            transforms.EncodePhotos(job),
            transforms.FuseAndWrite(job),
        ]
        for one in do_fns:
            one.setup()
        start.wait()
        batch = next(do_fns[0].process(unit))
        for one in do_fns[1:3]:
            batch = next(one.process_batch(batch))
        do_fns[2].teardown()
        return list(do_fns[3].process_batch(batch))

    units = make_plan(config.settings.embedding, config.gates).units
    with ThreadPoolExecutor(2) as pool:
        for unit in units:
            first, second = pool.map(work, [unit, unit])
            assert [done._replace(reused=False) for done in first] == [done._replace(reused=False) for done in second]
    assert len(store.names("runs/twice/units")) == len(units)
    shards = {name: raw for name, raw in products(reference).items() if name.startswith("shards/")}
    assert products(tmp_path / "store") == shards
    report = run(config)
    assert (report.units_reused, report.rows_embedded) == (4, 120)
    assert products(tmp_path / "store") == products(reference)


def test_a_bundle_that_is_retried_changes_nothing(demo: Path, reference: Path, tmp_path: Path) -> None:
    """A pipeline that is handed every unit twice, as a runner with retries hands some, ends in the same bytes."""
    from pipeline.embed.stage import embed

    config, store = config_for(demo, tmp_path / "store"), Store.create(str(tmp_path / "store"))
    plan = make_plan(config.settings.embedding, config.gates)
    runners.run_pipeline((), 2, lambda p: p | Embed(job_of(config, "r1", demo), [*plan.units, *plan.units]))
    job = job_of(config, "r2", demo)
    result = embed(store, config.settings.embedding, plan, unbounded("r2", config.settings), job.earlier)
    assert [shard.name for shard in result.shards.entries] == [s.name for s in manifest_of(reference).shards.entries]
    assert run(config).rows_embedded == 120
    assert products(tmp_path / "store") == products(reference)


@pytest.mark.parametrize(
    "arguments", [(), IN_MEMORY, PORTABLE, PROCESS], ids=["threads", "memory", "portable", "process"]
)
def test_a_failure_arrives_in_three_parts_on_every_runner(
    texts: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Flipped bytes of a row group, and settings that do not fit, are told as the worker told them, code included.

    When the file is mended, the next run goes on and ends as one that was never disturbed.
    """
    good = texts.read_bytes()
    stamp = texts.stat().st_mtime_ns
    at = pq.ParquetFile(texts).metadata.row_group(2).column(1).data_page_offset + 600
    texts.write_bytes(good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])
    config = text_config(texts, tmp_path / "store")
    with pytest.raises(VitrineError) as caught:
        run(config, *arguments)
    assert type(caught.value) is VitrineError
    assert caught.value.exit_code == 1
    assert caught.value.expected == f"row groups 2 to 2 of {texts} to be readable"
    assert "CRC" in caught.value.came or "checksum" in caught.value.came.lower()
    assert caught.value.fix == (
        "write this catalog file again; nothing was published, and the next run goes on from here"
    )
    texts.write_bytes(good)
    os.utime(texts, ns=(stamp, stamp))
    with pytest.raises(InputError) as refused:
        run(text_config(texts, tmp_path / "store", *TOO_MANY_LISTS), *arguments)
    assert refused.value.exit_code == 2
    assert "nlist: 500" in refused.value.expected
    assert refused.value.fix == "lower index.large.nlist, or raise index.max_train_rows or index.exact_below"
    assert run(config, *arguments).rows_embedded == 600
    run(text_config(texts, tmp_path / "other"))
    assert products(tmp_path / "store") == products(tmp_path / "other")


def test_a_failure_of_integrity_keeps_its_exit_code(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker raises with a line break in it, of a class with its own exit code, is read back whole."""
    failing(monkeypatch, 1, IntegrityError("a\nb", "c 'd' \\ e\nf", "g"))
    for arguments in ((), IN_MEMORY, PORTABLE):
        with pytest.raises(IntegrityError) as caught:
            run(config_for(demo, tmp_path / "store"), *arguments)
        assert (caught.value.expected, caught.value.came, caught.value.fix) == ("a\nb", "c 'd' \\ e\nf", "g")
        assert caught.value.exit_code == 4


def test_a_catalog_that_shrinks_during_the_run_is_told(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit that holds other rows than the plan counted is an error, not an empty shard."""
    read = transforms.read_fingerprinted
    monkeypatch.setattr(transforms, "read_fingerprinted", lambda *given: read(*given).slice(0, 0))
    with pytest.raises(VitrineError, match="the catalog changed during the run"):
        run(config_for(demo, tmp_path / "store"))


def test_text_without_three_parts_is_told_by_its_last_line() -> None:
    """A failure that nobody foresaw keeps what it said."""
    assert failures.found_in("Traceback\nKeyError: 'x'") is None
    assert failures.unexpected("Traceback\nKeyError: 'x'\n").came == "KeyError: 'x'"


# --- which runner ---


@pytest.mark.parametrize(
    "name",
    [
        "DirectRunner",
        "directrunner",
        "direct",
        "apache_beam.runners.direct.direct_runner.DirectRunner",
        "SwitchingDirectRunner",
        "PrismRunner",
        "FnApiRunner",
        "apache_beam.runners.portability.fn_api_runner.FnApiRunner",
        "DaskRunner",
        "apache_beam.runners.dask.dask_runner.DaskRunner",
    ],
)
def test_runners_that_lose_work_are_refused(demo: Path, tmp_path: Path, name: str) -> None:
    """They are refused before any work, under every name that Beam takes, with what to use instead."""
    with pytest.raises(InputError, match="local runner") as caught:
        run(config_for(demo, tmp_path / "store"), f"--runner={name}")
    assert caught.value.came == f"--runner={name}"
    assert not publications(tmp_path / "store")


def test_options_that_beam_does_not_know_are_refused() -> None:
    """A misspelt option is an error that names the nearest one."""
    with pytest.raises(InputError, match="--direct_num_workers"):
        runners.options_of(["--direct_num_worker_s=3"], 2)


def test_portable_names_are_left_to_beam() -> None:
    """Flink, Spark and a job server are not the local runner's business."""
    for name in ("FlinkRunner", "SparkRunner", "PortableRunner"):
        assert runners.runner_of(runners.options_of([f"--runner={name}"], 2)) == name


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--direct_num_workers=abc"], "invalid int value: 'abc'"),
        (["direct_num_workers=2"], "direct_num_workers=2"),
        (["--direct_num_workers=2", "3"], "3"),
    ],
)
def test_what_beam_cannot_read_is_refused(arguments: list[str], told: str) -> None:
    """A value of the wrong type, or a word that is no option, is an InputError instead of argparse's usage."""
    with pytest.raises(InputError) as refused:
        runners.options_of(arguments, workers=2)
    assert told in refused.value.came


def test_an_option_may_have_its_value_after_a_space() -> None:
    """`--name value` is as good as `--name=value`."""
    assert runners.options_of(["--direct_num_workers", "3"], workers=2).view_as(DirectOptions).direct_num_workers == 3
