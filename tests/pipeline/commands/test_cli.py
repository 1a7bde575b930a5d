"""The command: every name, option and exit code that scripts may rely on, and what goes to stdout and to stderr."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam
import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import DirectOptions

from lookup.store.store import Store
from pipeline.commands.cli import cli
from pipeline.engine import runners
from tests.support.command import overrides, run_titles, told, vitrine, write_titles

HEAVY = {"torch", "timm", "transformers", "apache_beam", "faiss"}
MODULE = [sys.executable, "-m", "pipeline"]
CONFIG = ("-c", "configs/weightless.yaml")


def leaves(command: click.Command = cli, path: str = "vitrine") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from leaves(inner, f"{path} {name}")


COMMANDS = dict(leaves())


def test_the_commands_are_the_promised_ones() -> None:
    """Scripts rely on these names."""
    assert {name.removeprefix("vitrine ") for name in COMMANDS} == {
        *("demo-catalog", "plan", "run", "search", "eval", "inspect", "verify", "doctor", "config show"),
        *("train", "train fusion", "train head", "train rank", "models pull", "models add", "compare"),
        *("snapshots", "rollback", "gc", "diff", "explain", "related", "import"),
        *("photos fetch", "photos evict"),
    }


@pytest.mark.parametrize("path", COMMANDS)
def test_each_command_has_help_with_examples_that_parse(path: str) -> None:
    """--help ends with examples of this command, and their options and arguments are ones that it has."""
    done = vitrine(*path.split()[1:], "--help")
    assert done.exit_code == 0
    lines = [line.strip() for line in done.stdout.partition("Example:\n")[2].splitlines()]
    examples = [line for line in lines if f"{path} " in f"{line} "]
    assert examples
    assert examples == lines
    for example in examples:
        words = shlex.split(example)
        arguments = words[words.index(path.split()[-1]) + 1 :]
        COMMANDS[path].make_context(path, arguments).close()


def test_the_help_of_the_whole_shows_commands_and_an_example() -> None:
    """`vitrine --help` names each command and shows how to begin, line by line."""
    text = vitrine("--help").stdout
    assert all(path.split()[1] in text for path in COMMANDS)
    assert "\n    vitrine demo-catalog demo && vitrine run -c configs/demo.yaml\n" in text


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["config", "show", *CONFIG], ["inspect"]])
def test_what_must_answer_at_once_loads_nothing_heavy(arguments: list[str], published: Path) -> None:
    """--help, `config show` and `inspect` import neither torch, timm, transformers, Beam nor faiss."""
    more = [str(published)] if arguments == ["inspect"] else []
    command = [sys.executable, "-X", "importtime", "-m", "pipeline", *arguments, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert {"click", "pipeline"} <= loaded
    assert not loaded & HEAVY


def test_the_module_is_the_command() -> None:
    """`python -m pipeline` and `vitrine` print the same."""
    script = Path(sys.executable).with_name("vitrine")
    if not script.is_file():
        pytest.skip("needs the installed command beside this Python (`make setup`)")
    outputs = [subprocess.run([*way, "run", "--help"], capture_output=True, check=True) for way in ([script], MODULE)]
    assert outputs[0].stdout == outputs[1].stdout


# --- --json ---


def good(path: str, demo: Path, store: Path, tmp_path: Path) -> list[object]:
    """Arguments with which a command succeeds."""
    name = path.split()[-1]
    if name == "demo-catalog":
        return [tmp_path / "new", "--products", 5]
    if name == "import":
        return ["sample:google", "--to", tmp_path / "shop"]
    if name in ("plan", "show", "fetch", "evict"):
        # the demo's photos are files: nothing is fetched
        net = [f"catalog.photo_cache={tmp_path / 'photos'}", "catalog.photo_hosts=[cdn.example.com]"]
        cache = net if name in ("fetch", "evict") else []
        return [*CONFIG, *overrides(demo, store), *cache, *(["--keep", "1GB"] if name == "evict" else [])]
    if name == "run":
        catalog = write_titles(tmp_path / "catalog.parquet", ["red dress", "blue shoe"])
        text_only = ["catalog.image=null", "encoders.image=null", "catalog.text=[title]", "catalog.attributes=[title]"]
        return [
            *CONFIG,
            *overrides(demo, tmp_path / "s"),
            f"catalog.path={catalog}",
            "catalog.partition=null",
            *text_only,
        ]
    if name in ("eval", "compare"):
        queries, qrels = tmp_path / "queries.parquet", tmp_path / "qrels.parquet"
        pq.write_table(pa.table({"query_id": ["q"], "text": ["red dress"]}), queries)
        pq.write_table(pa.table({"query_id": ["q"], "id": ["V-00000000"], "gain": [1]}), qrels)
        return [store, *(["1", "1"] if name == "compare" else []), "--queries", queries, "--qrels", qrels]
    of_a_store: dict[str, list[object]] = {
        "search": ["--text", "red dress"],
        "explain": ["V-00000000"],
        "rollback": ["1", "--why", "a test"],  # which is served already
        "diff": ["1", "1"],
        "related": ["--out", tmp_path / "related.parquet"],
    }
    return [] if name in ("doctor", "add") else [store, *of_a_store.get(name, [])]


# What these do takes minutes or a network; their own tests cover them.
AT_ONCE = [path for path in COMMANDS if not path.startswith(("vitrine train", "vitrine models pull"))]


@pytest.mark.parametrize("path", AT_ONCE)
def test_json_is_one_document_on_stdout(path: str, demo: Path, published: Path, tmp_path: Path) -> None:
    """With --json a command that succeeds prints one JSON document on stdout and nothing else there."""
    done = vitrine(*path.split()[1:], *good(path, demo, published, tmp_path), "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)
    assert done.stdout.lstrip()[0] in "{["


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["search", "absent", "--text", "x"], 2),
        (["inspect", "absent"], 2),
        (["verify", "absent"], 2),
        (["config", "show", "index.kk=3"], 2),
        (["plan", "-c", "absent.yaml"], 2),
        (["run", "-c", "absent.yaml"], 2),
        (["search"], 2),
        (["search", "store", "--txt", "x"], 2),
        (["search", "store", "--text", "x", "-k", "0"], 2),
        (["search", "store", "--text", "x", "-k", "many"], 2),
        (["demo-catalog", "folder", "--products", "0"], 2),
        (["demo-catalog", "folder", "--photos", "films"], 2),
        (["serach", "store"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_json_holds_for_errors_too(arguments: list[str], code: int) -> None:
    """Errors, also those that the parsing of the command line finds, are one document on stdout, and text on stderr."""
    done = vitrine(*arguments, "--json")
    assert done.exit_code == code
    found = json.loads(done.stdout)
    assert found["exit_code"] == code
    assert tuple(found["error"][part] for part in ("expected", "came", "to_do")) == told(done.stderr)
    plain = vitrine(*arguments)
    assert (plain.exit_code, plain.stdout) == (code, "")
    assert told(plain.stderr) == told(done.stderr)


def test_json_after_the_dashes_is_beams(demo: Path, tmp_path: Path) -> None:
    """What stands after -- is no option of ours."""
    done = vitrine("run", *CONFIG, *overrides(demo, tmp_path / "store"), "--", "--json")
    assert (done.exit_code, done.stdout) == (2, "")


def test_numbers_that_json_has_not_are_null(tmp_path: Path) -> None:
    """A NaN price of the catalog is null in --json, and a title cannot steer the terminal."""
    titles = ["red dress", "green \x1b]0;owned\x07dress"]
    catalog = write_titles(tmp_path / "c.parquet", titles, price=[float("nan"), 2.5], brand=["\x1b[31mred", "b"])
    done = run_titles(catalog, tmp_path / "store", "catalog.attributes=[title,price,brand]")
    assert done.exit_code == 0, done.stderr
    found = json.loads(vitrine("search", tmp_path / "store", "--text", "red dress", "--json").stdout)
    assert [hit["attributes"]["price"] for hit in found["hits"]] == [None, 2.5]
    assert found["hits"][0]["attributes"]["brand"] == "\x1b[31mred"
    assert "\x1b" not in vitrine("search", tmp_path / "store", "--text", "red dress").stdout


# --- search ---


def asked(*arguments: object) -> Any:
    done = vitrine("search", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_search_by_text_photo_and_both(demo: Path, published: Path) -> None:
    """A text, a photo, or both; each is another question, and a product's own photo finds that product first."""
    rows = pq.read_table(demo / "catalog").to_pylist()
    photo = demo / rows[17]["image_link"]
    by_text = asked(published, "--text", "red dress")["hits"]
    by_photo = asked(published, "--image", photo)["hits"]
    by_both = asked(published, "--image", photo, "--text", rows[17]["title"])["hits"]
    assert len(by_text) == len(by_photo) == len(by_both) == 10
    assert by_photo[0]["id"] == by_both[0]["id"] == rows[17]["id"]
    assert len({json.dumps(hits) for hits in (by_text, by_photo, by_both)}) == 3
    assert any("dress" in hit["attributes"]["title"].lower() for hit in by_text[:3])


def test_search_takes_k_category_and_nprobe(published: Path) -> None:
    """-k limits the hits; --category keeps those of one partition, in the order they have among all."""
    everything = asked(published, "--text", "red", "-k", 500)["hits"]
    assert len(everything) == 120
    assert len(asked(published, "--text", "red", "-k", 3)["hits"]) == 3
    kitchen = asked(published, "--text", "red", "--category", "Kitchen", "-k", 500, "--nprobe", 4)["hits"]
    assert [hit["id"] for hit in kitchen] == [hit["id"] for hit in everything if hit["partition"] == "Kitchen"]
    assert kitchen


def test_search_answers_a_file_of_queries(demo: Path, published: Path, tmp_path: Path) -> None:
    """--queries answers each row in order, as a list also when there is one, and the page shows them all."""
    rows = pq.read_table(demo / "queries.parquet").to_pylist()
    answers = asked(published, "--queries", demo / "queries.parquet", "-k", 2, "--html", tmp_path / "hits.html")
    assert [one["query"]["name"] for one in answers] == [row["query_id"] for row in rows]
    assert all(len(one["hits"]) == 2 for one in answers)
    page = (tmp_path / "hits.html").read_text()
    assert all((row["text"] or Path(row["image"]).name) in page for row in rows)
    assert "data:image/" in page
    pq.write_table(pq.read_table(demo / "queries.parquet").slice(0, 1), tmp_path / "one.parquet")
    (demo_photos,) = {str(Path(row["image"]).parent) for row in rows if row["image"]}
    (tmp_path / demo_photos).symlink_to(demo / demo_photos)
    assert len(asked(published, "--queries", tmp_path / "one.parquet")) == 1


def test_search_shows_hits_to_people(published: Path) -> None:
    """Without --json the hits are lines with score, id and category, best first."""
    done = vitrine("search", published, "--text", "red dress", "-k", 3)
    first = asked(published, "--text", "red dress", "-k", 3)["hits"][0]
    line = next(line for line in done.stdout.splitlines() if line.startswith("1 "))
    assert line.split()[1:4] == [f"{first['score']:.3f}", first["id"], first["partition"]]


# --- the others ---


def test_inspect_shows_the_manifest(published: Path) -> None:
    """inspect --json holds the manifest as it is stored, without its segments; for people it names every partition."""
    current = Store.open(str(published)).current()
    found = json.loads(vitrine("inspect", published, "--json").stdout)
    assert found["snapshot"] == current
    stored = json.loads((published / "snapshots" / f"{current}.json").read_text())
    assert found["manifest"] == {name: value for name, value in stored.items() if name != "segments"}
    text = vitrine("inspect", published, "--snapshot", current).stdout
    assert all(partition["name"] in text for partition in found["manifest"]["partitions"])
    done = vitrine("inspect", published, "--snapshot", "../../etc/passwd")
    assert done.exit_code == 2
    assert "../../etc/passwd" in told(done.stderr)[1]


def test_verify_counts_what_it_read(published: Path) -> None:
    """verify says how many files and bytes it compared: all that shards/ and indexes/ hold but the records."""
    found = json.loads(vitrine("verify", published, "--json").stdout)
    kept = [file for folder in ("shards", "indexes") for file in (published / folder).rglob("*.*")]
    kept = [file for file in kept if file.suffix != ".json"]
    assert (found["files"], found["bytes"]) == (len(kept), sum(file.stat().st_size for file in kept))


def test_plan_does_nothing(demo: Path, tmp_path: Path) -> None:
    """plan counts rows, units and categories as the catalog has them, and makes no store."""
    kinds = pq.read_table(demo / "catalog", columns=["product_type"]).column(0).to_pylist()
    arguments = ["plan", *CONFIG, *overrides(demo, tmp_path / "store"), "--json"]
    found = json.loads(vitrine(*arguments).stdout)
    assert (found["rows"], found["units"], found["duplicates"]) == (120, 4, 0)
    tops = [kind.split(" > ")[0] for kind in kinds]
    assert found["partitions"] == {name: tops.count(name) for name in set(tops)}
    one = json.loads(vitrine(*arguments, "--category", "Kitchen").stdout)
    assert (one["rows"], one["partitions"]) == (tops.count("Kitchen"), {"Kitchen": tops.count("Kitchen")})
    assert not (tmp_path / "store").exists()


def test_config_show_tells_origins(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key has its value and where it was set: default, file, environment or command line."""
    monkeypatch.setenv("VITRINE_RUN__WORKERS", "3")
    found = json.loads(vitrine("config", "show", *CONFIG, "index.k=20", "--json").stdout)
    assert found["index.k"] == {"value": 20, "origin": "command line"}
    assert found["run.workers"] == {"value": 3, "origin": "environment VITRINE_RUN__WORKERS"}
    assert found["catalog.partition"] == {"value": "product_type", "origin": "configs/weightless.yaml"}
    assert found["gates.min_recall"]["origin"] == "default"
    assert len(vitrine("config", "show", *CONFIG).stdout.splitlines()) == len(found)


def test_doctor_exits_1_when_something_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """doctor lists its checks, and one that fails is exit code 1."""
    assert vitrine("doctor").exit_code == 0
    done = vitrine("doctor", "--device", "cuda:63", "--json")
    assert done.exit_code == 1
    checks = json.loads(done.stdout)
    assert [check["name"] for check in checks if not check["ok"]] == ["device cuda:63"]
    assert vitrine("doctor", "--device", "abacus").exit_code == 2


# --- exit codes of the other tests' kinds ---


def test_exit_codes(tmp_path: Path) -> None:
    """0 done, 1 failed, 2 wrong input, 3 refused by a gate, 4 cannot be trusted, 5 held by another run."""
    catalog, store = write_titles(tmp_path / "c.parquet", ["red dress", "blue shoe", None]), tmp_path / "store"
    assert run_titles(catalog, store, "gates.least_rows=1").exit_code == 3  # one of three rows is rejected
    assert run_titles(catalog, store, "gates.max_reject_share=0.5").exit_code == 0
    assert run_titles(catalog, store, "catalog.text=[titel]").exit_code == 2
    with Store.open(str(store)).courtesy_lock("the whole catalog"):
        assert run_titles(catalog, store).exit_code == 5
    (store / "runs").rename(store / "runs.old")
    (store / "runs").write_bytes(b"")
    assert run_titles(catalog, store).exit_code == 2  # no store can be made there
    shard = next((store / "shards").glob("*.rejects.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert vitrine("verify", store).exit_code == 4
    assert vitrine("doctor", "--device", "cuda:63").exit_code == 1


# --- Beam's options ---


def test_what_stands_after_the_dashes_reaches_beam(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-- --direct_num_workers=1` is what Beam's runner gets, instead of run.workers."""
    seen: list[tuple[int, str]] = []
    real = runners.runner_of

    def spy(options: Any) -> Any:
        direct = options.view_as(DirectOptions)
        seen.append((direct.direct_num_workers, direct.direct_running_mode))
        return real(options)

    monkeypatch.setattr(runners, "runner_of", spy)
    catalog = write_titles(tmp_path / "c.parquet", ["red dress", "blue shoe"] * 100, 50)
    units = "shards.unit_rows=50"
    assert run_titles(catalog, tmp_path / "a", units).exit_code == 0
    assert run_titles(catalog, tmp_path / "b", units, "--", "--direct_num_workers=1").exit_code == 0
    assert seen == [(2, "multi_threading"), (1, "multi_threading")] + [(1, "multi_threading")] * 2


@pytest.mark.parametrize(
    ("option", "word"),
    [("--direct_num_worker=1", "--direct_num_workers"), ("--runner=DirectRunner", "leave --runner out")],
)
def test_what_beam_has_not_is_refused_before_any_work(option: str, word: str, tmp_path: Path) -> None:
    """An option that Beam does not know is told with the nearest, a refused runner with why; no store is made."""
    catalog = write_titles(tmp_path / "c.parquet", ["red dress"])
    done = run_titles(catalog, tmp_path / "store", "--", option)
    assert done.exit_code == 2
    assert word in told(done.stderr)[2]
    assert not (tmp_path / "store").exists()
    assert apache_beam.__version__.startswith("2.")
