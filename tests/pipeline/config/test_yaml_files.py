"""A config's writing: whatever is in the file, the command ends soon, with exit 2 and every problem in three parts."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.yaml_files import parse
from tests.support.command import told, vitrine

NINE = ",".join(["*{0}"] * 9)
LETTERS = "abcdefghij"


def shown(path: Path, *overrides: str) -> Result:
    """`config show` of a config file; nothing but the loader can fail."""
    return vitrine("config", "show", "-c", path, "catalog.path=feed", "store.path=store", *overrides)


def aliases(line: str) -> str:
    """Ten anchors of which each names the one before it nine times: 9 ** 9 values in 300 bytes."""
    each = [line.format(name, NINE.format(before)) for before, name in itertools.pairwise(LETTERS)]
    return "\n".join(["a: &a {x: 1}", *each]) + "\n"


BAD: dict[str, tuple[bytes | str, str]] = {
    "contains itself": ("run: &a {workers: *a}\n", "line 1"),
    "merges itself": ("run: &a {<<: *a}\n", "line 1"),
    "deep lists": ("run: " + "[" * 50_000, "32 deep"),
    "deep mappings": ("run: " + "{a: " * 5_000, "32 deep"),
    "deep blocks": ("\n".join(" " * i + "-" for i in range(400)), "32 deep"),
    "deep aliases": (f"a: &a {'[' * 20}1{']' * 20}\nb: {'[' * 20}*a{']' * 20}\n", "32 deep"),
    "aliases of aliases": (aliases("{0}: &{0} [{1}]"), "20,000 values"),
    "merges of merges": (aliases("{0}: &{0} {{<<: [{1}]}}"), "20,000 values"),
    "many keys": ("".join(f"k{i}: 1\n" for i in range(20_000)), "20,000 values"),
    "10,000 digits": (f"run: {{workers: {'9' * 10_000}}}\n", "10,000 digits"),
    "infinite": ("train: {lr: 1e999}\n", "1e999"),
    "infinite word": ("train: {lr: .inf}\n", "train.lr"),
    "no number": ("index: {max_query_ms: .nan}\n", "index.max_query_ms"),
    "a tag": ("run: {workers: !!int x}\n", "the tag"),
    "a time": ("run: {workers: !!timestamp x}\n", "the tag"),
    "an object": ("run: !!python/object/apply:os.getcwd []\n", "the tag"),
    "a number as key": ("catalog: {columns: {1: x}}\n", "1 as a key"),
    "nothing as key": ("catalog: {columns: {? : x}}\n", "nothing as a key"),
    "a list as key": ("? [a]\n: b\n", "line 1"),
    "an unknown alias": ("run: *nobody\n", "line 1"),
    "Latin-1": ("store: {path: caf\u00e9}\n".encode("latin-1"), "UTF-8"),
    "NUL": (b"run:\x00", "UTF-8"),
    "a photo": (b"\xff\xd8\xff\xe0" + bytes(range(256)) * 20, "UTF-8"),
    "300 kB": (b"# " + b"x" * 300_000, "at most 262,144 are read"),
}


@pytest.mark.parametrize(("written", "words"), BAD.values(), ids=BAD)
def test_writing_without_end_is_refused(written: bytes | str, words: str, tmp_path: Path) -> None:
    """Each ends with exit 2 and what is wrong with it; none with a traceback, and none takes its time."""
    path = tmp_path / "c.yaml"
    path.write_bytes(written.encode() if isinstance(written, str) else written)
    done = shown(path)
    assert done.exit_code == 2
    assert words in told(done.stderr)[1], done.stderr


def test_utf_16_is_read(tmp_path: Path) -> None:
    """What Windows' editor calls Unicode is a config like any other."""
    path = tmp_path / "c.yaml"
    path.write_text("run: {workers: 5}\n", encoding="utf-16")
    done = shown(path)
    assert done.exit_code == 0
    assert "run.workers" in done.stdout
    assert " 5 " in next(line for line in done.stdout.splitlines() if line.startswith("run.workers"))


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """A pipe that nobody writes to, a device without an end and a folder: exit 2, no wait."""
    os.mkfifo(tmp_path / "pipe")
    for path, words in ((tmp_path / "pipe", "a pipe"), (Path("/dev/zero"), "a device"), (tmp_path, "a folder")):
        done = shown(path)
        assert done.exit_code == 2
        assert words in told(done.stderr)[1]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (f"run.workers={'9' * 5000}", "5,000 digits"),
        (f"run.workers={'[' * 5000}", "32 deep"),
        (f"{'a.' * 5000}b=1", "at most 16 parts"),
        ("train.lr=inf", "train.lr"),
        ("train.lr=1e999", "below 1e308"),
        ("encoders.text.word_weight=nan", "encoders.text"),
        ("store.path=!!binary x", "the tag"),
    ],
)
def test_overrides_and_the_environment_are_bounded_too(
    override: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same limits hold for `section.key=value` and for VITRINE_SECTION__KEY."""
    (tmp_path / "c.yaml").touch()
    done = shown(tmp_path / "c.yaml", override)
    assert done.exit_code == 2
    assert words in told(done.stderr)[1]
    key, _, value = override.partition("=")
    monkeypatch.setenv("VITRINE_" + key.upper().replace(".", "__"), value)
    done = shown(tmp_path / "c.yaml")
    assert done.exit_code == 2
    assert words in told(done.stderr)[1]


ALPHABET = st.sampled_from(list("ab1.:-,[]{}&*!?<>#'\"|~%@ \n\t")) | st.characters(codec="utf-8")


@settings(max_examples=300, deadline=None)
@given(st.text(ALPHABET, max_size=60) | st.binary(max_size=40))
def test_any_writing_is_a_value_or_problems(raw: str | bytes) -> None:
    """Nothing that a file can hold raises, and no problem lacks one of its parts."""
    _, problems = parse(raw, "c.yaml")
    assert all(all((one.key, one.came, one.expected, one.fix)) for one in problems)


# `0E0` is a number to YAML 1.2 and to us; a program of YAML 1.1 writes it for text, without quotes.
NUMBER = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+")
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT.filter(lambda text: not NUMBER.fullmatch(text)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc01 ", max_size=4), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_what_yaml_writes_is_read_back(value: object) -> None:
    """Any value that another program writes as YAML, quoted where it must be, comes back as it was."""
    value_read, problems = parse(yaml.dump(value, Dumper=yaml.SafeDumper, allow_unicode=True), "c.yaml")
    assert (value_read, problems) == (value, [])
