"""The documents say what the program does: keys, commands, exit codes, links, and blocks that run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

import pipeline.engine.failures  # noqa: F401  # defines the errors that only the pipeline raises
from foundation.errors import VitrineError
from foundation.reasons import Reason
from pipeline.commands.cli import cli
from pipeline.config.load import load_config
from pipeline.publish.gates.check import plan_gates, snapshot_gates
from tests.support.config_tables import PAGE, TYPES, section_tables, type_tables

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "deploy" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<kind>\w*)\n(?P<body>.*?)```", re.DOTALL)


# --- docs/reference/config.md ---


def test_every_config_key_is_documented_with_its_default_and_meaning() -> None:
    """docs/reference/config.md holds the tables that the config itself gives, key by key."""
    page = (ROOT / "docs/reference/config.md").read_text()
    tables = section_tables() + type_tables()
    assert tables.count("| `") > 50
    missing = [line for line in tables.splitlines() if line and line not in page.splitlines()]
    assert not missing, "put these lines into docs/reference/config.md:\n" + "\n".join(missing)
    keys = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    unknown = set(keys) - set(re.findall(r"^\| `([^`]+)` \|", tables, re.MULTILINE))
    assert not unknown, f"docs/reference/config.md has keys that no config has: {sorted(unknown)}"


def test_the_tables_of_types_are_those_of_the_code() -> None:
    """Between its marks the page is what `python -m tests.support.config_tables` writes."""
    found = TYPES.search(PAGE.read_text())
    assert found is not None
    assert found.group() == type_tables()


# --- docs/reference/commands.md ---


def _commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


COMMANDS = dict(_commands(cli, "vitrine"))


def test_there_are_commands_to_look_at() -> None:
    """The walk over the commands finds those that scripts may rely on."""
    assert set(COMMANDS) >= {
        "vitrine run",
        "vitrine search",
        "vitrine inspect",
        "vitrine verify",
        "vitrine config show",
    }


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_is_documented_with_all_its_options(path: str) -> None:
    """A command has a section of its own in docs/reference/commands.md, with each of its options and arguments."""
    page = (ROOT / "docs/reference/commands.md").read_text()
    section = re.search(rf"^## {path}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert section is not None, f"docs/reference/commands.md has no section `## {path}`"
    for option in COMMANDS[path].params:
        names = option.opts if isinstance(option, click.Option) else [str(option.make_metavar(click.Context(cli)))]
        longest = max(names, key=len)
        assert f"`{longest}" in section[1], f"`## {path}` does not name {longest}"


@pytest.mark.parametrize("path", COMMANDS)
def test_the_help_of_every_command_has_an_example_that_the_command_accepts(path: str) -> None:
    """The example in --help names the command itself, and its options are options of that command."""
    command = COMMANDS[path]
    shown = CliRunner().invoke(cli, [*path.split()[1:], "--help"])
    assert shown.exit_code == 0
    examples = [line.strip() for line in (command.epilog or "").splitlines() if "vitrine " in line]
    assert examples
    assert all(path in line for line in examples)
    known = {name for option in command.params for name in option.opts}
    for line in examples:
        assert line in shown.output
        own = line.split(" -- ")[0]
        assert {word for word in shlex.split(own) if word.startswith("-")} <= known


# --- codes, links, versions, YAML ---


def _subclasses(kind: type[VitrineError]) -> set[type[VitrineError]]:
    return {kind}.union(*(_subclasses(one) for one in kind.__subclasses__()))


@pytest.mark.parametrize("page", ["README.md", "docs/reference/outcomes.md"])
def test_every_exit_code_is_documented(page: str) -> None:
    """The exit code of each error that exists has its row in both tables of exit codes, and no row is without one."""
    codes = {kind.exit_code for kind in _subclasses(VitrineError)} | {0}
    rows = re.findall(r"^\| ([0-9]+) \|", (ROOT / page).read_text(), re.MULTILINE)
    assert len(codes) > 5
    assert {int(code) for code in rows} == codes


def test_every_reject_reason_is_documented() -> None:
    """docs/reference/outcomes.md says of each reason what it means."""
    page = (ROOT / "docs/reference/outcomes.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    known = [(line.split("`")[1], line.rpartition(" | ")[2].removesuffix(" |")) for line in rows]
    assert [reason.value for reason in Reason if (reason.value, reason.fix) not in known] == []


def test_every_gate_is_documented() -> None:
    """docs/reference/outcomes.md has a row for each gate that is found, with the key of its bound."""
    rows = [line for line in (ROOT / "docs/reference/outcomes.md").read_text().splitlines() if line.startswith("| `")]
    found = [*plan_gates(), *snapshot_gates()]
    assert len(found) > 10
    bounds = {one.name: f"`gates.{one.bound}`" if isinstance(one.bound, str) else f"{one.bound} |" for one in found}
    documented = [name for name, bound in bounds.items() if any(f"`{name}`" in row and bound in row for row in rows)]
    assert documented == list(bounds)


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_documents_resolve() -> None:
    """Each relative link leads to a file of the repository and, where it names one, to a heading in it."""
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    assert len(links) > 10
    broken = []
    for page, link in links:
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []


def test_pages_that_code_and_configs_name_are_there() -> None:
    """A docstring, a message or a config that sends its reader to a page of docs/ names one that exists."""
    folders = ("pipeline", "encoders", "index_builders", "lookup", "foundation", "configs", "benchmarks")
    files = [one for folder in folders for one in (ROOT / folder).rglob("*") if one.suffix in {".py", ".yaml"}]
    named = {page for one in files for page in re.findall(r"\bdocs/[a-z_/-]+\.md", one.read_text())}
    assert len(named) > 4
    assert [page for page in sorted(named) if not (ROOT / page).is_file()] == []


def test_installs_are_of_this_project() -> None:
    """No message, page or config installs `vitrine`, which on PyPI is another project; extras are installed from the
    clone, and are there; the command tells the version under the project's own name.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "vitrine-index"
    folders = ("pipeline", "encoders", "index_builders", "lookup", "foundation", "configs", "docs", "benchmarks")
    files = [
        path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".md", ".yaml"}
    ]
    texts = {path: path.read_text() for path in [*files, *ROOT.glob("*.md"), ROOT / "Makefile"]}
    assert len(texts) > 100
    installs = re.compile(r"pip3? (?:install|download)[^`\n\"]*")
    found = [(path, line) for path, text in texts.items() for line in installs.findall(text)]
    assert len(found) > 8
    assert [one for one in found if re.search(r"\bvitrine\b(?!-index)", one[1])] == []
    named = [extras for _, line in found for extras in re.findall(r"(?:\.|whl|vitrine-index)\[([a-z0-9,-]+)\]", line)]
    extras = {extra for one in named for extra in one.split(",")}
    assert {"open-clip", "lora", "index", "networks", "cpu"} <= extras <= set(project["optional-dependencies"])
    done = CliRunner().invoke(cli, ["--version"], prog_name="vitrine")
    assert (done.exit_code, done.output) == (0, f"vitrine, version {project['version']}\n")


def test_the_changelog_has_the_version() -> None:
    """The topmost version of the changelog is that of pyproject.toml."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    first = re.search(r"^## ([^ ]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first[1] == version


def test_yaml_in_documents_parses_and_whole_configs_load(tmp_path: Path) -> None:
    """Every YAML block is YAML; those with a catalog and a store are configs that a run would take."""
    configs = 0
    for page in PAGES:
        for block in FENCE.finditer(page.read_text()):
            if block["kind"] not in ("yaml", "yml"):
                continue
            for value in yaml.safe_load_all(block["body"]):
                assert isinstance(value, dict), f"{page.name}: {block['body']}"
                if {"catalog", "store"} <= set(value):
                    file = tmp_path / "config.yaml"
                    file.write_text(block["body"])
                    load_config(str(file), env={})
                    configs += 1
    assert configs >= 2


def test_json_in_documents_parses() -> None:
    """Every JSON block is JSON."""
    blocks = [b["body"] for page in PAGES for b in FENCE.finditer(page.read_text()) if b["kind"] == "json"]
    assert blocks
    for body in blocks:
        json.loads(body)


# --- make ---


def test_targets_for_operators_only_call_the_command() -> None:
    """What `make nightly`, `reindex` and `ci-index` do is what `vitrine` does; CI runs the last one too."""
    makefile = (ROOT / "Makefile").read_text()
    for target in ("nightly", "reindex", "ci-index"):
        recipe = re.search(rf"^{target}: setup ## [^\n]*\n((?:\t[^\n]*\n)+)", makefile, re.MULTILINE)
        assert recipe is not None
        lines = [line.strip() for line in recipe[1].splitlines() if not line.startswith("\t@[ -n")]
        assert lines
        assert [line for line in lines if not line.startswith("$(BIN)/vitrine ")] == []
    assert (ROOT / ".ci/run").read_text().splitlines()[-2:] == ["make check", "make ci-index"]


# --- blocks that run ---


@pytest.mark.parametrize("page", ["README.md", "docs/reference/commands.md", "docs/feeds.md"])
def test_marked_blocks_run_and_print_what_is_shown(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands under `<!-- checked -->` print what stands below them, but for ids and times, in a fresh folder."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    blocks = [block for block in FENCE.finditer((ROOT / page).read_text()) if block["mark"]]
    assert len(blocks) >= 2
    for block in blocks:
        if block["mark"].startswith("file: "):
            Path(block["mark"].removeprefix("file: ")).write_text(block["body"])
        elif block["kind"] == "python":
            after = FENCE.search(block.string, block.end())
            assert after is not None
            assert _masked(_python(block["body"])) == _masked(after["body"])
        else:
            for command, expected in _sessions(block["body"]):
                assert _masked(_run(command)) == _masked(expected), command


def _sessions(body: str) -> list[tuple[str, str]]:
    """(command, what it prints) of each `$ ` line."""
    parts = re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


def _run(command: str) -> str:
    program, *arguments = shlex.split(command)
    assert program == "vitrine", f"only vitrine runs here, not {program}"
    if arguments[0] == "search":  # as users run it, in a process of its own: what it shows is what they see
        asked = [sys.executable, "-m", "pipeline", *arguments]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
        done = subprocess.run(asked, capture_output=True, encoding="utf-8", env=env, check=False)
        return done.stdout + (f"exit code {done.returncode}\n" if done.returncode else "")
    result = CliRunner().invoke(cli, arguments)
    return result.stdout + (f"exit code {result.exit_code}\n" if result.exit_code else "")


def _python(body: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(body, "README.md", "exec"), {})
    return printed.getvalue()


def _masked(text: str) -> list[str]:
    """The lines without ids, times, padding, and what differs between processors and versions of libraries."""
    for pattern, mask in (
        (r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]+", "ID"),
        (r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8} UTC", "WHEN"),
        (r"[0-9.]+ (?:ms|s)\b", "TIME"),
        (r'"(?:ms|load_ms|seconds|build_seconds)": [0-9.]+', "TIME"),
        (r'"(build_threads|memory_bytes)": [0-9]+', r'"\1": CORES'),  # what a run takes follows from the cores
        (r"memory [0-9,]+ MB \(embedding [0-9,]+, building [0-9,]+\)", "memory CORES"),
        (r"on [0-9]+ threads each", "on CORES threads each"),
        (r'("score": [0-9]\.[0-9]{3})[0-9]+', r"\1"),  # other processors round otherwise
        (r"^([0-9]+ +[0-9]\.[0-9]{2})[0-9](?= )", r"\1"),
        (r"identity [0-9a-f]{16}", "identity"),
        (r"\b[0-9a-f]{64}\b", "DIGEST"),
        (r"(pixels of \w+ +)[0-9a-f]{16}", r"\1DIGEST"),  # follow the version of Pillow
        (r"(beside it: \w+ +|built by +faiss )[0-9][\w.+]*", r"\1VERSION"),
        (r"gates [0-9]+, failed", "gates MANY, failed"),  # one more is no matter of an example
        (r"^(plan|reuse|measure|embed|build|gate|publish)  +[0-9.]+", r"\1 TIME"),
        (r"(@[0-9]+ [01]\.[0-9]{3}(?: [0-9.-]+)?(?: \([a-z0-9., ]+\))?)  +[0-9.]+  +[0-9.]+ ", r"\1 TIME"),
        (r'"/[^"]*/(?=demo/)', '"/.../'),
    ):
        text = re.sub(pattern, mask, text, flags=re.MULTILINE)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
