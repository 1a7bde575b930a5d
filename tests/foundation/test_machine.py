"""A machine that fails is told as one: three parts that name what to lower or mend, never "report it"."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from encoders.types.hashed_text import HashedText
from foundation.machine import machine_fault, machine_fault_in
from index_builders.rows import shards
from pipeline.engine.failures import unexpected
from pipeline.files import discover as files
from tests.support.command import run_titles, told, vitrine, write_titles

ALLOCATOR = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"
FAULTS: list[tuple[Callable[[], BaseException], str]] = [
    (lambda: MemoryError("std::bad_alloc"), "run.workers"),
    (lambda: pa.lib.ArrowMemoryError("malloc of size 2147483648 failed"), "--memory"),
    (lambda: RuntimeError("can't start new thread"), "run.photo_threads"),
    (lambda: RuntimeError("CUDA error: an illegal memory access was encountered"), "encoders.device=cpu"),
    (lambda: OSError(errno.EMFILE, "Zu viele offene Dateien", "x"), "ulimit -n"),
    (lambda: OSError(errno.ENOSPC, "Kein Speicherplatz"), "vitrine plan"),
    (lambda: OSError(errno.EDQUOT, "Disk quota exceeded"), "quota"),
    (lambda: OSError(errno.EROFS, "Read-only file system", "x"), "store.path="),
    (lambda: OSError(errno.EIO, "Input/output error", "x"), "mend the disk"),
    (lambda: PermissionError(errno.EACCES, "Permission denied", "x"), "permissions"),
    (lambda: ChildProcessError(errno.ECHILD, "No child processes"), "dmesg"),
]
each_fault = pytest.mark.parametrize(
    ("fault", "fix"), FAULTS, ids=lambda value: value if isinstance(value, str) else ""
)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty titles. Tests must not change it."""
    return write_titles(tmp_path_factory.mktemp("titles") / "a.parquet", [f"red dress {n}" for n in range(30)])


@each_fault
def test_what_fails_in_a_worker_comes_back_as_the_machine_s(
    fault: Callable[[], BaseException], fix: str, catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose encoder meets it ends with exit 1 and what to do, and rejects no row for it."""

    def forward(*_: object) -> None:
        raise fault()

    monkeypatch.setattr(HashedText, "forward", forward)
    done = run_titles(catalog, tmp_path / "store")
    assert done.exit_code == 1
    expected, came, said = told(done.stderr)
    assert fix in said
    assert "report it" not in "".join((expected, came, said))
    assert not (tmp_path / "store" / "shards").exists()


@each_fault
def test_what_fails_in_the_command_itself(
    fault: Callable[[], BaseException], fix: str, catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same words where no Beam is in between, with --json too."""

    def failing(*_: object) -> None:
        raise fault()

    monkeypatch.setattr("pipeline.plan.earlier_plan.make_plan", failing)
    done = vitrine("plan", f"catalog.path={catalog}", f"store.path={tmp_path}", "encoders.image=null",
                   "catalog.image=null", "--json")  # fmt: skip
    assert done.exit_code == 1
    assert fix in told(done.stderr)[2]
    assert fix in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        "MemoryError",
        "MemoryError: Unable to allocate 4.00 GiB for an array",
        "RuntimeError: Failed to bind to address [::]:0; set GRPC_VERBOSITY=debug",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        f"RuntimeError: {ALLOCATOR}",
        "concurrent.futures.process.BrokenProcessPool: A process in the process pool was terminated abruptly",
        "OSError: [Errno 24] Zu viele offene Dateien: 'x'",
    ],
)
def test_only_words_arrive_from_a_worker(words: str) -> None:
    """A worker's traceback is judged by the last error in it; what Beam appends does not disturb."""
    for wrapped in (words, f"RuntimeError: {words}"):
        text = f"Traceback (most recent call last):\n  File x\n{wrapped}\nand more of it [while running 'EncodeTexts']"
        assert "report it" not in unexpected(text).fix


@pytest.mark.parametrize(
    "words", ["KeyError: 'No space left on device'", "ValueError: Too many open files", "RuntimeError: shapes differ"]
)
def test_other_faults_stay_ours(words: str) -> None:
    """Words of a title, or of a fault of the program, are not taken for the machine's."""
    assert machine_fault_in(words) is None
    assert machine_fault_in(f"RuntimeError: {words}") is None
    assert "report it" in unexpected(f"Traceback\n{words}").fix
    assert machine_fault(ValueError("Too many open files")) is None


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ENOMEM])
def test_no_file_is_blamed_for_the_machine(
    number: int, catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A catalog that cannot be opened for want of open files is not "written again", a shard not "restored"."""

    def failing(*_: object, **__: object) -> None:
        raise OSError(number, "no", "x")

    with monkeypatch.context() as patch:
        patch.setattr(files.pq, "ParquetFile", failing)
        done = run_titles(catalog, tmp_path / "store")
        assert done.exit_code == 1
        assert "write the file again" not in done.stderr
    assert run_titles(catalog, tmp_path / "store").exit_code == 0
    monkeypatch.setattr(shards.pq, "ParquetFile", failing)
    done = run_titles(catalog, tmp_path / "store", "index.k=5")
    assert done.exit_code == 1
    assert "restore" not in done.stderr


DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "no header": ("model.safetensors", lambda raw: b"\xff" * 8 + raw[8:]),
    "half a header": ("model.safetensors", lambda raw: raw[:200]),
    "no JSON": ("model.safetensors", lambda raw: raw[:8] + b"x" * 50 + raw[58:]),
    "cut": ("model.safetensors", lambda raw: raw[:-1]),
    "empty": ("model.safetensors", lambda raw: b""),
    "a tokenizer cut": ("tokenizer.json", lambda raw: raw[:1000]),
    "a config cut": ("config.json", lambda raw: raw[:50]),
}


@pytest.mark.parametrize(("name", "damage"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_model_is_named_before_anything_is_read(
    name: str, damage: Callable[[bytes], bytes], catalog: Path, tmp_path: Path
) -> None:
    """plan, run and train end with exit 2 and the file, not with a library's words alone."""
    model = Path(shutil.copytree("encoders/builtin", tmp_path / "model"))
    (model / name).write_bytes(damage((model / name).read_bytes()))
    dual = f"encoders.text={{type: dual, model: {model}}}"
    where = ("-c", "configs/weightless.yaml", f"catalog.path={catalog}", f"store.path={tmp_path / 'store'}", dual)
    where = (*where, "catalog.partition=null", "catalog.image_root=null", "catalog.text=[title]",
             "catalog.attributes=[title]")  # fmt: skip
    for command in (["plan"], ["run"], ["train", "--from", model, "--out", tmp_path / "out"]):
        done = vitrine(*command, *where, *(() if "train" in command else ("catalog.image=null", "encoders.image=null")))
        assert done.exit_code == 2, done.stderr
        assert name in told(done.stderr)[1], done.stderr


def test_a_tokenizer_of_other_json_names_its_folder(catalog: Path, tmp_path: Path) -> None:
    """What only the library finds when it loads is told with the folder, and with its own words."""
    model = Path(shutil.copytree("encoders/builtin", tmp_path / "model"))
    (model / "tokenizer.json").write_text('{"version": "1.0"}')
    dual = (f"encoders.text={{type: dual, model: {model}}}", "catalog.text=[title]", "encoders.text.precision=fp32")
    done = run_titles(catalog, tmp_path / "store", *(word for word in dual if "precision" not in word))
    assert done.exit_code == 2, done.stderr
    assert str(model) in told(done.stderr)[1]


@pytest.mark.parametrize(
    "words", ["can't start new thread", "Failed to bind to address [::]:0; set GRPC_VERBOSITY=debug"]
)
def test_the_runner_itself_meets_a_limit(
    words: str, catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Beam raises in this process, without a worker's traceback around it, is told like any other."""

    def failing(*_: object, **__: object) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr("apache_beam.Pipeline.run", failing)
    done = run_titles(catalog, tmp_path / "store")
    assert done.exit_code == 1
    assert "raise the limit" in told(done.stderr)[2]
