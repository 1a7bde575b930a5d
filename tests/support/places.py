"""Where things lie: this checkout, the model that ships, and the real catalog beside the checkout."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILTIN = ROOT / "encoders" / "builtin"
COMMIT = "a" * 40  # of the models of the fixture `hub`
GROCERY = ROOT.parent / "shared" / "data" / "grocery"
