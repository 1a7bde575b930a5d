"""Mistakes of a shop, each found by `plan` as `run` finds it: the same words, with their own fix, nothing encoded."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from PIL import Image

from tests.support.command import TITLES_ONLY, told, vitrine

N = 40
BOTH = ("catalog.text=[title]", "catalog.partition=null", "encoders.text.dim=16", "catalog.attributes=[title]")
TEXTS = (*TITLES_ONLY, "encoders.text.dim=16")
LARGE = (*TEXTS, "index.exact_below=512", "index.held_out_queries=100")


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    return file.getvalue()


def jpeg(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (shade, 0, 0)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 40 photos, shop/photos/p0.png and so on. Tests must not change it."""
    folder = tmp_path_factory.mktemp("shop") / "shop"
    (folder / "photos").mkdir(parents=True)
    for number in range(N):
        (folder / "photos" / f"p{number}.png").write_bytes(png())
        (folder / "pages").mkdir(exist_ok=True)
        (folder / "pages" / f"{number}.jpg").write_text(f"<html>404 {number}</html>")
    return folder


@dataclass(frozen=True)
class Mistake:
    """A catalog of these columns beside ids and titles, and overrides; `key` and `words` must be in the message."""

    words: Sequence[str]
    overrides: Sequence[str] = TEXTS
    columns: dict[str, Callable[[int], Any]] = field(default_factory=dict)
    rows: int = N
    code: int = 2


def photos(pattern: str) -> dict[str, Callable[[int], Any]]:
    return {"image_link": lambda number: pattern.format(number)}


STOPPING = {
    "photos a level deeper": Mistake(
        ["none of 40 sampled photos", "shop/p", "photos would find 40 of 40"], BOTH, photos("p{}.png")
    ),
    "photos a level higher": Mistake(
        ["none of 40", "would find 40 of 40"], (*BOTH, "catalog.image_root={shop}/photos"), photos("photos/p{}.png")
    ),
    "photos with a prefix": Mistake(
        ["without 'cdn/img/': 40 of 40"], (*BOTH, "catalog.image_root={shop}/photos"), photos("cdn/img/p{}.png")
    ),
    "photos nowhere": Mistake(["none of 40", "correct catalog.image_root"], BOTH, photos("x/{}.jpg")),
    "photos of the web": Mistake(
        ["40 of 40 sampled photos are URLs of hosts that are not allowed: a.b (40)", 'catalog.photo_hosts=["a.b"]'],
        BOTH, photos("https://a.b/{}.jpg"),
    ),
    "photos of this machine": Mistake(
        ["photos that their hosts give", "localhost has no public address (127.0.0.1", "photo_networks where its"],
        (*BOTH, "catalog.photo_hosts=['localhost:9']", "catalog.photo_cache={shop}-cache"), photos("https://localhost:9/{}.jpg"),
    ),
    "pages for photos": Mistake(
        ["20 of 20 sampled photos cannot be used (image_undecodable)", "HTML, not a photo: pages/", "save the photo"],
        BOTH, photos("pages/{}.jpg"),
    ),
    "pages for photos, held as bytes": Mistake(
        ["20 of 20 sampled photos", "(image_undecodable)", "HTML, not a photo"],
        BOTH, {"image_link": lambda number: b"<html>404 %d</html>" % number},
    ),
    "photos larger than may be": Mistake(
        ["(image_too_large)", "more than 63 pixels: 8 x 8 = 64, photos/p", "raise catalog.max_photo_bytes"],
        (*BOTH, "catalog.max_photo_pixels=63"), photos("photos/p{}.png"),
    ),
    "photos of more bytes than may be": Mistake(
        ["(image_too_large)", "more than 9 bytes"], (*BOTH, "catalog.max_photo_bytes=9"), photos("photos/p{}.png")
    ),
    "photos that take too long": Mistake(
        ["4 of 4 sampled photos cannot be used (image_too_slow)", "1 scans of 4,096 pixels", "max_photo_seconds"],
        (*BOTH, "catalog.max_photo_seconds=0.000001"), {"image_link": jpeg},
    ),
    "texts in Latin-1": Mistake(
        ["not UTF-8 in 40 of 40 sampled rows", "the column title", "write the export in UTF-8"],
        columns={"title": lambda number: b"Caf\xe9 %d" % number},
    ),
    "some texts in Latin-1": Mistake(
        ["not UTF-8 in 4 of 40 sampled rows", "the column kind", "gates.max_reject_share=0.05"],
        (*TEXTS, "catalog.partition=kind", "gates.least_rows=3"),
        {"kind": lambda number: b"Caf\xe9" if number % 10 == 0 else b"Tea"},
    ),
    "titles for photos": Mistake(
        ["no paths in the column image_link", "catalog.columns.image_link=picture"],
        BOTH,
        {"image_link": "red dress {}".format, "picture": "photos/p{}.png".format},
    ),
    "ids for categories": Mistake(
        ["every product has its own", "catalog.partition=null"], (*TEXTS, "catalog.partition=id")
    ),
    "a rename the wrong way": Mistake(
        ["{Titel: title}", "turn it round: {title: Titel}"],
        (*TEXTS, "catalog.columns={Titel: title}"),
        {"Titel": "red dress {}".format, "title": lambda _: ...},
    ),
    "no texts at all": Mistake(
        ["'N/A'", "in each of 40 rows", "name a column that has texts"], columns={"title": lambda _: "N/A"}
    ),
    "models that nobody added": Mistake(
        ["2 problems:\n  encoders.text\n", "models pull one", "\n  encoders.image\n", "models pull two"],
        (*BOTH[1:], "encoders.text={type: hf_text, model: one}", "encoders.image={type: timm_image, model: two}"),
        photos("photos/p{}.png"),
    ),
    "a brand for an id": Mistake(
        ["35 of 40 rows have an id", "catalog.columns.id=..."], columns={"id": lambda number: f"b{number % 5}"}
    ),
    "ids repeated": Mistake(
        ["20 of 40 rows have an id", "remove the repeated rows"], columns={"id": lambda number: f"b{number % 20}"}
    ),
    "ids that are null": Mistake(
        ["an id for each product", "the column id", "each of 40 rows", "catalog.columns.id=..."],
        columns={"id": lambda _: None},
    ),
    "ids that are blank": Mistake(
        ["the column sku", "each of 40 rows"], (*TEXTS, "catalog.columns={id: sku}"), {"sku": lambda _: " "}
    ),
    "a limit below every row": Mistake(
        ["rows of at most 1 bytes", "in each of 40 sampled rows", "raise catalog.max_row_bytes"],
        (*TEXTS, "catalog.max_row_bytes=1"),
    ),
    "an attribute that is not there": Mistake(
        ["no column 'titel' (nearest: 'title')"], (*TEXTS, "catalog.attributes=[titel]")
    ),
    "components beyond the embedding": Mistake(
        ["pca of at most 16", "lower index.large.pca"], (*LARGE, "index.large={type: ivf_pq, pca: 5000}"), rows=600
    ),
    "m that divides nothing": Mistake(
        ["m that divides 16", "m: 5"], (*LARGE, "index.large={type: ivf_pq, m: 5}"), rows=600
    ),
    "lists beyond the rows": Mistake(
        ["at least 4096 training rows"], (*LARGE, "index.large={type: ivf_sq8, nlist: 4096}"), rows=600
    ),
    "weights that were not pulled": Mistake(
        ["'siglip2'", "vitrine models pull siglip2"], (*TEXTS, "encoders.text={type: hf_text, model: siglip2}")
    ),
    "a store below a file": Mistake(
        ["a folder for the store at", "is a file"], (*TEXTS, "store.path={shop}/photos/p0.png/store")
    ),
    "a GPU for an encoder that has no use for it": Mistake(
        ["encoders.device=cuda", "set encoders.device=cpu"], (*TEXTS, "encoders.device=cuda")
    ),
    "a GPU that is not there": Mistake(
        ["a device 'cuda:63'", "set encoders.device to cpu"],
        (*TEXTS, "encoders.text={type: dual, model: builtin}", "encoders.device=cuda:63"),
    ),
    "no memory at all": Mistake(["run.memory of at least"], (*TEXTS, "run.memory=10MB")),
    "two at once": Mistake(
        ["2 problems", "encoders.device", "catalog.columns.id"],
        (*TEXTS, "encoders.device=cuda"),
        {"id": lambda number: f"b{number % 5}"},
    ),
}  # fmt: skip


def written(mistake: Mistake, folder: Path, shop: Path) -> list[str]:
    """The catalog of a mistake, and the words that name it and the store."""
    columns: dict[str, Callable[[int], Any]] = {"id": "p{}".format, "title": "red dress {}".format, **mistake.columns}
    table = {name: [make(row) for row in range(mistake.rows)] for name, make in columns.items()}
    table = {name: values for name, values in table.items() if values[0] is not ...}
    (folder / "catalog").mkdir(parents=True)
    pq.write_table(pa.table(table), folder / "catalog" / "a.parquet", row_group_size=17)
    where = [f"catalog.path={folder / 'catalog'}", f"catalog.image_root={shop}", f"store.path={folder / 'store'}"]
    more = [word.replace("{shop}", str(shop)) for word in mistake.overrides]
    return ["-c", "configs/weightless.yaml", *where, *(word for word in more if word != "catalog.image_root=null")]


def same(one: Result, other: Result) -> bool:
    return one.exit_code == other.exit_code and told(one.stderr) == told(other.stderr)


@pytest.mark.parametrize("mistake", STOPPING.values(), ids=STOPPING)
def test_plan_finds_what_a_run_would_fail_on(mistake: Mistake, shop: Path, tmp_path: Path, encoded: list[str]) -> None:
    """Exit code and message of `plan` are those of `run`; the fix is the mistake's own, and no text was encoded."""
    words = written(mistake, tmp_path, shop)
    planned, ran = vitrine("plan", *words), vitrine("run", *words)
    assert planned.exit_code == mistake.code
    message = "\n".join(told(planned.stderr))
    assert all(word in message for word in mistake.words), message
    assert same(planned, ran), ran.stderr
    assert encoded == []
    assert not (tmp_path / "store" / "shards").exists()


WARNED = {
    "a category for each product": (
        ["catalog.partition", "40 partitions of 40 rows"],
        Mistake([], (*TEXTS, "catalog.partition=title")),
    ),
    "addresses for texts": (["addresses in the column title"], Mistake([], columns=photos("x") | {
        "title": "https://shop.example/{}".format})),
    "numbers for texts": (["numbers in the column title"], Mistake([], columns={"title": "{}.99".format})),
    "a rename that nobody asks for": (
        ["catalog.columns.brand", "drop it"],
        Mistake([], (*TEXTS, "catalog.columns={brand: marke}")),
    ),
    "a version that never changes": (
        ["'v1' in each of 40 rows", "image_identity=stat"],
        Mistake([], (*BOTH, "catalog.image_identity=version", "catalog.version_column=v"),
                photos("photos/p{}.png") | {"v": lambda _: "v1"}),
    ),
    "half of the photos gone": (
        ["20 of 40 sampled photos cannot be had", "image_not_found", "gates.max_degraded_share"],
        Mistake([], BOTH, {"image_link": lambda number: f"photos/p{number}{'' if number % 2 else 'x'}.png"}, code=3),
    ),
    "most of the photos damaged": (
        ["of 20 sampled photos cannot be used (image_undecodable)", "HTML", "save the photo again"],
        Mistake([], BOTH, code=3, columns={
            "image_link": lambda number: ("pages/{}.jpg" if number % 4 else "photos/p{}.png").format(number)
        }),
    ),
    "no photos, and the gates let them go": (
        ["none of 40 sampled photos"],
        Mistake([], (*BOTH, "gates.max_degraded_share=1", "gates.max_photos_lost_share=1"), photos("p{}.png")),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("words", "mistake"), WARNED.values(), ids=WARNED)
def test_what_only_looks_like_a_mistake_is_a_warning(
    words: Sequence[str], mistake: Mistake, shop: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`plan` prints it as text and in --json, `run` logs it and keeps it in its report, and goes on."""
    arguments = written(mistake, tmp_path, shop)
    shown, document = vitrine("plan", *arguments), vitrine("plan", *arguments, "--json")
    assert (shown.exit_code, document.exit_code) == (0, 0), shown.stderr
    line = next(line for line in shown.stdout.splitlines() if line.startswith("warning: "))
    assert all(word in line for word in words), line
    warnings = json.loads(document.stdout)["warnings"]
    assert [set(one) for one in warnings] == [{"key", "expected", "came", "to_do"}] * len(warnings)
    assert any(all(word in str(one.values()) for word in words if "'" not in word) for one in warnings)
    caplog.clear()
    assert vitrine("run", *arguments).exit_code == (mistake.code if mistake.code == 3 else 0)
    assert any(all(word in record.getMessage() for word in words) for record in caplog.records)
    (folder,) = (tmp_path / "store" / "runs").iterdir()
    assert len(json.loads((folder / "run.json").read_text())["warnings"]) == len(warnings)
    assert "<h2>Warnings</h2>" in (folder / "report.html").read_text()


def test_texts_that_the_model_does_not_read_to_the_end(shop: Path, tmp_path: Path) -> None:
    """Titles of fifty words for a model of 32 tokens are a warning with both figures; short ones are none."""
    model = (*TITLES_ONLY[:-1], "encoders.text={type: dual, model: builtin}")
    for name, words, warned in (("long", "shoe " * 50, True), ("short", "red shoe ", False)):
        arguments = written(Mistake([], model, {"title": (words + "{}").format}), tmp_path / name, shop)
        done = vitrine("plan", *arguments)
        assert done.exit_code == 0, done.stderr
        assert ("40 of 40 sampled texts have more" in done.stdout) == warned
        assert ("at most 32 tokens" in done.stdout) == warned


def test_columns_from_folders_are_seen(shop: Path, tmp_path: Path) -> None:
    """Texts, photos, versions and categories that stand in the names of folders are what a run reads: no word against
    them, and a category of them has its rows.
    """
    words = written(Mistake([], BOTH), tmp_path, shop)
    for kind in ("Red tea", "Blue shoe"):
        folder = tmp_path / "catalog" / f"kind={kind}" / "image_link=photos%2Fp1.png" / "v=2"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"id": [f"{kind} {number}" for number in range(N)]}), folder / "a.parquet")
    (tmp_path / "catalog" / "a.parquet").unlink()
    more = ("catalog.text=[kind]", "catalog.partition=kind", "catalog.attributes=[kind]",
            "catalog.version_column=v", "catalog.image_identity=version")  # fmt: skip
    for scope in ((), ("--category", "Red tea")):
        planned, ran = vitrine("plan", *words, *more, *scope, "--json"), vitrine("run", *words, *more, *scope)
        assert (planned.exit_code, ran.exit_code) == (0, 0), planned.stderr + ran.stderr
        assert [one["key"] for one in json.loads(planned.stdout)["warnings"]] == ["catalog.version_column"]


def test_a_separator_is_told_once(shop: Path, tmp_path: Path) -> None:
    """Levels apart by `|`: one advice, which is the plan's notice."""
    kind = {"kind": lambda number: f"Home | Kitchen {number % 4 + 3}"}
    done = vitrine("plan", *written(Mistake([], (*TEXTS, "catalog.partition=kind"), kind), tmp_path, shop))
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("partition_separator") == 1
    assert """catalog.partition_separator='[">", " | "]'""" in done.stdout


def test_a_good_catalog_has_no_warnings(demo: Path, tmp_path: Path) -> None:
    """Nothing is found against the demo catalog."""
    where = (f"catalog.path={demo / 'catalog'}", f"catalog.image_root={demo}", f"store.path={tmp_path / 'store'}")
    done = vitrine("plan", "-c", "configs/weightless.yaml", *where, "--json")
    assert json.loads(done.stdout)["warnings"] == []


@pytest.mark.parametrize("command", [["train", "--from", "builtin"], ["train", "fusion", "fusion.type=transformer"]])
def test_training_looks_first_too(command: list[str], shop: Path, tmp_path: Path, encoded: list[str]) -> None:
    """A training whose photos are elsewhere ends before it reads any, with the folder that has them."""
    words = written(STOPPING["photos a level deeper"], tmp_path, shop)
    done = vitrine(*command, *words, "--out", tmp_path / "model")
    assert done.exit_code == 2
    assert "photos would find 40 of 40" in told(done.stderr)[2]
    assert encoded == []
    assert [path.name for path in tmp_path.iterdir()] == ["catalog"]


@pytest.mark.parametrize("command", [["train", "--from", "builtin"], ["train", "fusion", "fusion.type=transformer"]])
def test_training_looks_for_its_device_first(
    command: list[str], demo: Path, tmp_path: Path, encoded: list[str]
) -> None:
    """A device that this machine has not ends a training before it reads anything."""
    where = (f"catalog.path={demo / 'catalog'}", f"catalog.image_root={demo}", f"store.path={tmp_path / 'store'}")
    towers = [f"encoders.{side}={{type: dual, model: builtin}}" for side in ("text", "image")]
    device = "encoders.device=cuda:63"
    done = vitrine(*command, "-c", "configs/weightless.yaml", *where, *towers, device, "--out", tmp_path / "model")
    expected, _, fix = told(done.stderr)
    assert (done.exit_code, expected) == (2, "a device 'cuda:63'")
    assert "set encoders.device to cpu" in fix
    assert (encoded, list(tmp_path.iterdir())) == ([], [])


def test_a_full_disk_is_told_before_it_is_filled(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoded: list[str]
) -> None:
    """Less room than the least that a run writes: exit 2 with both figures; with snapshots only a warning."""
    words = written(Mistake([]), tmp_path, shop)
    usage = shutil.disk_usage(tmp_path)
    assert vitrine("run", *words).exit_code == 0
    encoded.clear()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert "warning: store.path: 0.00 GB free" in vitrine("plan", *words).stdout
    shutil.rmtree(tmp_path / "store")
    planned, ran = vitrine("plan", *words), vitrine("run", *words)
    assert planned.exit_code == 2
    assert "0.00 GB free in" in told(planned.stderr)[1]
    assert told(ran.stderr)[0] == told(planned.stderr)[0]
    assert encoded == []


def test_temporary_files_that_cannot_be_written_are_told(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TMPDIR that is gone is exit 2 with the variable to set."""
    words = written(Mistake([]), tmp_path, shop)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    planned, ran = vitrine("plan", *words), vitrine("run", *words)
    assert planned.exit_code == 2
    assert "TMPDIR" in told(planned.stderr)[2]
    assert same(planned, ran)
