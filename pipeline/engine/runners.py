"""Which Beam runner executes a pipeline. The default is built here, explicitly.

`--runner=DirectRunner` would first try to download the Prism binary, and `--runner=FnApiRunner` by name sends no
options to worker processes. So the local runner is constructed as Beam's own SwitchingDirectRunner constructs it.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import cache
from pathlib import Path

import apache_beam as beam
import grpc  # type: ignore[import-untyped]
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineRunner, PipelineState
from apache_beam.runners.worker import sdk_worker
from apache_beam.utils import thread_pool_executor

from foundation.allocator import give_back
from foundation.errors import InputError, VitrineError
from foundation.machine import machine_fault
from pipeline.engine import failures
from pipeline.engine.watchdog import died

_LOCAL = (None, "local")
_DOWNLOADS = "it downloads a binary first; leave --runner out for the local runner"
_REFUSED = {
    "DirectRunner": _DOWNLOADS,
    "SwitchingDirectRunner": _DOWNLOADS,
    "PrismRunner": _DOWNLOADS,
    "FnApiRunner": "by name it sends no options to workers; leave --runner out for the local runner",
    "DaskRunner": "it drops branches of a pipeline; use the local runner, Flink or Spark",
}


def options_of(arguments: Sequence[str], workers: int) -> PipelineOptions:
    """Beam's options: `arguments` are what stood after `--`; the local runner gets `workers` threads that share one
    model.
    """
    loose = [word for before, word in zip(["", *arguments], arguments, strict=False) if _is_loose(word, before)]
    if loose:
        raise InputError("options of Beam's after --, as --name=value", " ".join(loose), "write --name=value")
    options = PipelineOptions(list(arguments))
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            known = options.get_all_options()
    except SystemExit as err:  # argparse ends the process over a value of the wrong type
        said = complaint.getvalue().strip().rpartition("\n")[2]
        raise InputError("values that fit Beam's options after --", said, "correct the value") from err
    unknown = sorted(set(options.get_all_options(retain_unknown_options=True)) - set(known))
    if unknown:
        near = difflib.get_close_matches(unknown[0], list(known), n=1)
        hint = f"; nearest: --{near[0]}" if near else ""
        raise InputError("options of Beam's after --", f"--{', --'.join(unknown)}", f"correct them{hint}")
    direct = options.view_as(DirectOptions)
    if "direct_running_mode" not in _given(arguments):
        direct.direct_running_mode = "multi_threading"
    if "direct_num_workers" not in _given(arguments):
        direct.direct_num_workers = 1 if direct.direct_running_mode == "in_memory" else workers
    return options


def refuse_own_workers(arguments: Sequence[str]) -> None:
    """InputError where Beam's options decide what a bound on memory has to: how many workers, and in which process."""
    wrong = sorted(_given(arguments) & {"direct_num_workers", "direct_running_mode", "runner", "job_endpoint"})
    if wrong:
        raise InputError(
            "a run with run.memory to choose its own workers, in this process",
            f"--{', --'.join(wrong)} after --",
            "leave them out, or drop run.memory",
        )


def runner_of(options: PipelineOptions) -> str | PipelineRunner:
    """The runner that `options` ask for; the local one unless `--runner` names another."""
    name = options.view_as(StandardOptions).runner
    if name not in _LOCAL:
        refused = _refused(str(name))
        if refused is not None:
            expected = "a runner other than " + ", ".join(_REFUSED)
            raise InputError(expected, f"--runner={name}", _REFUSED[refused])
        return str(name)
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    info = fn_runner.ExtendedProvisionInfo(beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded))
    return fn_runner.FnApiRunner(provision_info=info)


def run_pipeline(
    arguments: Sequence[str], workers: int, build: Callable[[beam.Pipeline], object], scratch: Path | None = None
) -> None:
    """Run the pipeline that `build` makes, to its end; a failure in a worker comes back in its own three parts.

    The folder that Beam makes for each pipeline lies in `scratch`: of a run that is killed it stays.
    """
    options = options_of(arguments, workers)
    quiet_beam()
    _hear_of_deaths()
    with _temporary(scratch):
        pipeline = beam.Pipeline(runner=runner_of(options), options=options)
    build(pipeline)
    try:
        result = pipeline.run()
        state = result.wait_until_finish()
        give_back()  # or the peak of the next step would come on top of what this one freed
    except RuntimeError as err:  # whatever failed in a worker arrives as one, with the traceback for its message
        raise (failures.found_in(str(err)) or machine_fault(err) or failures.unexpected(str(err))) from err
    except (grpc.FutureTimeoutError, grpc.RpcError) as err:
        raise VitrineError(
            "a runner that answers", f"none: {err!r}", "start it, or correct --job_endpoint; then run again"
        ) from err
    if state not in (None, PipelineState.DONE):
        raise VitrineError(
            "the runner to end in the state DONE", str(state), "read the runner's own log, then run again"
        )


@cache
def _hear_of_deaths() -> None:
    """Beam's threads, and those of its servers, put what they end by into futures. Of those nobody reads any but the
    runner's own: whatever else ends so would be waited for, for ever. Told from now on, in this process.
    """
    pool = thread_pool_executor.shared_unbounded_instance()
    submit = pool.submit

    def submit_heard(work: Callable[..., object], *words: object, **named: object) -> Future[object]:
        future: Future[object] = submit(work, *words, **named)
        module = getattr(work, "__module__", None)
        if module != fn_runner.__name__:
            future.add_done_callback(lambda done: _hear(done, of_worker=module == sdk_worker.__name__))
        return future

    pool.submit = submit_heard


def _hear(done: Future[object], of_worker: bool) -> None:
    """An error that a server's thread ended by may belong to one call alone, unless it says more."""
    err = None if done.cancelled() else done.exception()
    if err is not None and (of_worker or not isinstance(err, Exception) or machine_fault(err) is not None):
        died(err, "a thread of Beam's pool")


@contextlib.contextmanager
def _temporary(folder: Path | None) -> Iterator[None]:
    """Temporary files of the body lie in `folder`. For a moment only: sockets in it could have names too long."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder) if folder else tempfile.tempdir
    try:
        yield
    finally:
        tempfile.tempdir = before


def quiet_beam() -> None:
    """Keep Beam's start-up chatter out of the log; its warnings and errors stay."""
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    sdk_worker.print = lambda *_, **__: None  # a worker's traceback, which also comes back with the error


def _refused(name: str) -> str | None:
    """The runner of `_REFUSED` that Beam would take `name` for: any case, with or without a module or `Runner`."""
    last = name.rpartition(".")[2].lower()
    return next((one for one in _REFUSED if last in (one.lower(), one.lower().removesuffix("runner"))), None)


def _is_loose(word: str, before: str) -> bool:
    """Whether `word` is neither an option nor the value of the option before it."""
    return not word.startswith("--") and (not before.startswith("--") or "=" in before)


def _given(arguments: Sequence[str]) -> set[str]:
    return {argument.removeprefix("--").split("=")[0] for argument in arguments}
