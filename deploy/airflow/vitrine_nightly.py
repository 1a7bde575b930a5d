"""Two DAGs: `vitrine_nightly` runs the catalog every night, `vitrine_reindex` one category when it is triggered.

Put this file into Airflow's DAGs folder. Workers need Vitrine in an environment of its own, in APP, since its packages
and Airflow's need not agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import DAG, BaseOperator, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException

APP = "/srv/vitrine/app"
RUN = [f"{APP}/.venv/bin/vitrine", "run", "-c", "/etc/vitrine/nightly.yaml"]
NEEDS_A_PERSON = (2, 3, 4)  # wrong input, a gate, a damaged store: another try would end the same
TRIES = {"retries": 3, "retry_delay": timedelta(minutes=10)}


class VitrineOperator(BaseOperator):
    """Runs `command`, without a shell, and fails for good where its exit code says that a person has to look."""

    template_fields: Sequence[str] = ("command",)

    def __init__(self, *, command: list[str], **others: Any) -> None:
        super().__init__(**others)
        self.command = command
        self.hook = SubprocessHook()

    def execute(self, context: Any) -> None:
        """The last line of what it printed is in the message; the whole is in the task's log."""
        done = self.hook.run_command(self.command, cwd=APP)
        if done.exit_code in NEEDS_A_PERSON:
            raise AirflowFailException(f"exit code {done.exit_code}: {done.output}")
        if done.exit_code != 0:
            raise AirflowException(f"exit code {done.exit_code}: {done.output}")

    def on_kill(self) -> None:
        """Ends the run with the task; run again, it goes on from there."""
        self.hook.send_sigterm()


with DAG(
    "vitrine_nightly",
    schedule="30 2 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,  # a night that was missed is not made up for: there is one catalog, the newest
    max_active_runs=1,
):
    VitrineOperator(task_id="run", command=RUN, **TRIES)

with DAG(
    "vitrine_reindex",
    schedule=None,
    params={"category": Param(type="string", minLength=1, description="A category of the catalog.")},
):
    VitrineOperator(task_id="run", command=[*RUN, "--category={{ params.category }}"], **TRIES)
