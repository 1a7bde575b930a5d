"""`models.lock`: for each model of a models folder where it came from, and the digest of every file that decides its
vectors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from foundation.disk import replace_file
from foundation.errors import InputError
from foundation.regular_files import SMALL_FILE, IrregularFileError, OversizedFileError, read_regular

LOCK = "models.lock"
_HEX64 = r"^[0-9a-f]{64}$"

Revision = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


class LockedFile(BaseModel):
    """One file as it was put there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=0)
    blake3: str = Field(pattern=_HEX64)


class PulledModel(BaseModel):
    """One model of the hub: its id, the commit, and every file that decides its vectors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    came_by: ClassVar[str] = "pulled"
    command: ClassVar[str] = "vitrine models pull"

    repo: str
    revision: Revision
    files: dict[str, LockedFile] = Field(min_length=1)

    @property
    def origin(self) -> str:
        """Where it came from, for people."""
        return f"{self.repo} at {self.revision}"


class PackagedModel(BaseModel):
    """One model that a package carried: its name, its version, and every file that decides the model's vectors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    came_by: ClassVar[str] = "added"
    command: ClassVar[str] = "vitrine models add"

    package: str
    version: str
    files: dict[str, LockedFile] = Field(min_length=1)

    @property
    def origin(self) -> str:
        """Where it came from, for people."""
        return f"{self.package} {self.version}"


LockedModel = PulledModel | PackagedModel


class Lock(BaseModel):
    """`models.lock`: name -> model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    models: dict[str, LockedModel] = {}

    @classmethod
    def read(cls, folder: Path) -> Lock:
        """The lock of a models folder; an empty one where nothing was put yet."""
        path = folder / LOCK
        try:
            return cls.model_validate_json(read_regular(path, SMALL_FILE))
        except FileNotFoundError:
            return cls()
        except (ValidationError, IrregularFileError, OversizedFileError) as err:
            raise InputError(
                "a lock file as `vitrine models pull` and `vitrine models add` write it",
                f"{path}: {err}",
                f"restore {LOCK} from version control, or remove it and put its models there again",
            ) from err

    def write(self, folder: Path) -> None:
        """Replace the lock of a models folder at once."""
        replace_file(folder / LOCK, (self.model_dump_json(indent=2) + "\n").encode())
