"""Products without a photo, or without a text, in runs of the command: found as often as by what they have alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from encoders.base import encoder_spec, load_text
from encoders.fusion.base import FusionSpec
from foundation.errors import VitrineError
from index_builders.rows.shards import SegmentRef, read_ids, read_tower
from lookup.search import Reader
from lookup.store.store import Store
from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from tests.support.command import overrides, told, vitrine
from tests.support.stores import manifest_of

PRODUCTS = 500
BUILTIN = "builtin"
TOWERS = (BUILTIN, "clip", "siglip")


def null_some(folder: Path, **shares: float) -> None:
    """Null `title` and `description`, or `image_link`, in a share of the rows; of none both."""
    (path,) = sorted((folder / "catalog").glob("*.parquet"))
    table, lots, start = pq.read_table(path), np.random.default_rng(3).random(PRODUCTS), 0.0
    for name, share in shares.items():
        chosen = pa.array((lots >= start) & (lots < start + share))
        for column in ("title", "description") if name == "text" else ("image_link",):
            values = pc.if_else(chosen, pa.scalar(None, table.schema.field(column).type), table.column(column))
            table = table.set_column(table.schema.get_field_index(column), column, values)
        start += share
    pq.write_table(table, path, row_group_size=100, write_page_checksum=True)


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo catalog of 500 products, 30% of them without photo and 20% without text. Tests must not change it."""
    folder = tmp_path_factory.mktemp("lossy") / "demo"
    write_demo_catalog(folder, DemoOptions(products=PRODUCTS, row_group_rows=100))
    null_some(folder, photo=0.3, text=0.2)
    return folder


def night(catalog: Path, store: Path, *more: str) -> tuple[int, str]:
    """A run of configs/demo.yaml: exit code and stderr."""
    where = (f"catalog.path={catalog / 'catalog'}", f"catalog.image_root={catalog}", f"store.path={store}")
    done = vitrine("run", "-c", "configs/demo.yaml", *where, "shards.unit_rows=100", *more)
    return done.exit_code, done.stderr


def towers_of(name: str, folder: Path) -> tuple[str, ...]:
    """Overrides that name the built-in model, or a random one of that kind."""
    if name == BUILTIN:
        return ()
    from tests.support.tiny_models import DUALS

    spec = f"{{type: dual, model: {DUALS[name](folder / name)}}}"
    return f"encoders.text={spec}", f"encoders.image={spec}"


def rows_of(store: Path) -> tuple[list[str], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Ids of the published products, and the vectors of each tower with the mask of what is there."""
    opened, manifest = Store.open(str(store)), manifest_of(store)
    refs = [
        SegmentRef(opened.verified(one.file), one.row_group, one.rows, one.digest)
        for partition in manifest.partitions
        for one in manifest.shards.located(partition.name)
    ]
    ids = [name for ref in refs for name in read_ids(ref).to_pylist()]
    parts = {tower: [read_tower(ref, tower) for ref in refs] for tower in ("text", "image")}
    return ids, {t: (np.vstack([v for v, _ in p]), np.concatenate([m for _, m in p])) for t, p in parts.items()}


def shares(store: Path, kind: str, vectors: np.ndarray, own: list[str]) -> tuple[float, float]:
    """(by search, by the tower of `kind` alone): of the first ten hits that have what is asked by, the share that lacks
    the other; `own` products are no hits of their queries.
    """
    reader, (ids, towers) = Reader.open(str(store)), rows_of(store)
    known, has = towers["text" if kind == "text" else "image"]
    lacks = ~towers["image" if kind == "text" else "text"][1]
    where, found, alone = {name: row for row, name in enumerate(ids)}, [], []
    fusion = reader._queries.fusion
    for vector, name in zip(vectors, own, strict=True):
        asked = fusion.queries(**{"text" if kind == "text" else "image": vector[None]})
        hits = [where[hit.id] for hit in reader.search_vector(asked, k=60) if hit.id != name]
        found += [lacks[row] for row in hits if has[row]][:10]
        scores = np.where(has, known @ vector, -np.inf)
        scores[where[name]] = -np.inf
        alone += lacks[np.argsort(-scores, kind="stable")[:10]].tolist()
    return float(np.mean(found)), float(np.mean(alone))


def titles(catalog: Path) -> list[tuple[str, str]]:
    """(id, title) of products that have one."""
    table = pq.read_table(catalog / "catalog", columns=["id", "title"]).drop_null()
    return list(zip(table.column("id").to_pylist(), table.column("title").to_pylist(), strict=True))


@pytest.mark.parametrize("model", TOWERS)
def test_what_lacks_a_photo_or_a_text_is_found_as_by_what_it_has(model: str, lossy: Path, tmp_path: Path) -> None:
    """Without any setting, the hits of text queries have as many products without photo as the text tower's own, within
    5 points, and those of photo queries as many without text as the photo tower's; the manifest says so too.
    """
    store = tmp_path / "store"
    code, said = night(lossy, store, *towers_of(model, tmp_path))
    assert code == 0, said
    manifest = manifest_of(store)
    assert manifest.missing is not None
    assert manifest.text is not None
    for one, lacking in zip(manifest.missing, (0.3 / 0.8, 0.2 / 0.7), strict=True):
        assert abs(one.lacking / one.rows - lacking) < 0.05
        assert abs(one.share - one.own) < 0.05
    asked = titles(lossy)[::4]
    text = load_text(encoder_spec(dict(manifest.text.fields)), "cpu")
    queries = text.encode([" ".join(title.split()[:3]) for _, title in asked], "query")
    found, alone = shares(store, "text", queries, [name for name, _ in asked])
    assert 0.25 < alone < 0.5
    assert abs(found - alone) < 0.05
    ids, towers = rows_of(store)
    photos = np.flatnonzero(towers["image"][1])[::4]
    found, alone = shares(store, "photo", towers["image"][0][photos], [ids[row] for row in photos])
    assert abs(found - alone) < 0.05


# Encoders without weights, of equal length: what is measured of them means little, but it is measured.
WEIGHTLESS = (
    "encoders.text.dim=256",
    "encoders.image.dim=256",
    "fusion.type=weighted_sum",
    "gates.max_missing_shift=1",
)


def quick(catalog: Path, store: Path, *more: str) -> Result:
    """A run of configs/weightless.yaml under `weighted_sum`; `more` may be options."""
    return vitrine("run", "-c", "configs/weightless.yaml", *overrides(catalog, store, *WEIGHTLESS, *more))


def steps_of(store: Path) -> list[str]:
    """The steps of the last run."""
    found = json.loads((sorted((store / "runs").iterdir())[-1] / "run.json").read_text())
    return [step["name"] for step in found["steps"]]


@pytest.fixture
def measured(lossy: Path, tmp_path: Path) -> Path:
    """The store of one run that has measured."""
    assert quick(lossy, tmp_path / "store").exit_code == 0
    return tmp_path / "store"


def test_what_was_measured_is_kept_night_by_night(lossy: Path, measured: Path) -> None:
    """A run keeps what the published snapshot has, so nothing is encoded again, and a run of one category too; with
    --measure it is measured anew; `plan` says whether a run would.
    """
    assert steps_of(measured)[:3] == ["plan", "reuse", "measure"]
    first = manifest_of(measured)
    assert first.fusion["missing"]["text_only"]["slope"] > 0
    assert first.config["fusion"]["missing"] is None
    plan = ("plan", "-c", "configs/weightless.yaml", *overrides(lossy, measured, *WEIGHTLESS))
    assert "is measured" not in vitrine(*plan).stdout
    assert "is measured" in vitrine(*plan, "fusion.text_weight=0.4").stdout
    again = quick(lossy, measured)
    assert (again.exit_code, steps_of(measured)[2]) == (0, "embed")
    assert manifest_of(measured) == first
    assert quick(lossy, measured, "--category", first.partitions[0].name).exit_code == 0
    assert manifest_of(measured).fusion == first.fusion
    assert quick(lossy, measured, "--measure").exit_code == 0
    assert steps_of(measured)[2] == "measure"
    refused = quick(lossy, measured, "--measure", "--category", first.partitions[0].name)
    assert refused.exit_code == 2
    assert "--measure" in told(refused.stderr)[1]


def test_what_was_measured_behind_another_head_is_measured_anew(
    lossy: Path, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fusion that is another at the same place, as with a head that was learned again, takes over no stand-ins."""
    kept = quick(lossy, measured)
    assert (kept.exit_code, steps_of(measured)[2]) == (0, "embed")
    monkeypatch.setattr(FusionSpec, "_head_digests", lambda spec: {"text_head model.safetensors": "b" * 64})
    assert quick(lossy, measured).exit_code == 0
    assert steps_of(measured)[2] == "measure"


def test_a_killed_run_is_resumed_with_what_it_measured(
    lossy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run after a failed one measures nothing: its shards would have other names, and none would be found."""
    import pipeline.run as stages

    def killed(*given: object) -> None:
        raise VitrineError("a build", "none", "run again")

    with monkeypatch.context() as patched:
        patched.setattr(stages, "build_indexes", killed)
        assert quick(lossy, tmp_path / "store").exit_code == 1
    done = quick(lossy, tmp_path / "store", "--json")
    assert done.exit_code == 0, done.stderr
    run = json.loads(done.stdout)
    (step,) = [one for one in run["steps"] if one["name"] == "measure"]
    assert step["counts"] == {"resumed": 1}
    assert run["units_reused"] == run["units"]


def test_products_that_are_buried_are_not_published(lossy: Path, tmp_path: Path) -> None:
    """With a factor set by hand that buries products without photo, the gate refuses and names both shares. Without the
    towers' vectors it says so; beside such shards a category that is run with them is measured by its own.
    """
    refused = quick(lossy, tmp_path / "store", "fusion.alignment=-1", "gates.max_missing_shift=0.05")
    assert refused.exit_code == 3
    expected, came, _ = told(refused.stderr)
    assert "missing_photo_shift <= 0.05" in expected
    assert "under the text tower alone" in came
    unknown = quick(lossy, tmp_path / "other", "fusion.alignment=-1", "shards.towers=false", "--json")
    assert unknown.exit_code == 0, unknown.stderr
    (gate,) = [one for one in json.loads(unknown.stdout)["gates"] if one["name"] == "missing_shares"]
    assert gate["advice"].startswith("not measured: shards.towers is false")
    again = quick(lossy, tmp_path / "other", "fusion.alignment=-1", "--category", "Clothing")
    assert again.exit_code == 0, again.stderr
    (by_text, _) = manifest_of(tmp_path / "other").missing or (None, None)
    (own,) = [one for one in manifest_of(tmp_path / "other").partitions if one.name == "Clothing"]
    assert by_text is not None
    assert 50 < by_text.rows <= own.rows


def test_a_catalog_of_few_products_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where fewer than 100 products have both, the log says on how many the rule stands, and the run goes on."""
    folder = tmp_path / "few"
    write_demo_catalog(folder, DemoOptions(products=40, row_group_rows=40))
    done = quick(folder, tmp_path / "store")
    assert done.exit_code == 0, done.stderr
    assert "is measured on 40 products that have both" in caplog.text
