"""Whether an encoder or a fusion of this machine is the one that a snapshot was made with; and if not, what differs."""

from __future__ import annotations

from encoders.base import EncoderSpec, Modality
from encoders.fusion.base import FusionSpec
from encoders.photos.golden import PIXELS
from foundation.errors import InputError
from foundation.identity import VERSION, describe_parts, differing
from lookup.store.manifest import EncoderEntry, Manifest


def refuse_other_encoder(entry: EncoderEntry, spec: EncoderSpec, modality: Modality) -> None:
    """InputError unless `spec` gives the vectors that `entry` gave; a tower of texts does not depend on pixels."""
    if entry.parts:
        mine = spec.parts_for(modality)
        parts = [name for name in differing(entry.parts, mine) if modality == "image" or not name.startswith(PIXELS)]
        if not parts:
            return
        there, here = describe_parts(parts, entry.parts), describe_parts(parts, mine)
        fix = _fix(parts, entry)
        if all(name.startswith(PIXELS) for name in parts):
            there += f", by Pillow {entry.about.get('Pillow', 'of another version')}"
            here += f", by Pillow {spec.about()['Pillow']}"
    elif spec.identity == entry.identity:
        return
    else:
        there, here = f"identity {entry.identity[:16]}", f"identity {spec.identity[:16]}"
        here += "; which part differs the manifest, of an earlier version of vitrine, does not say"
        versions = ", ".join(f"{name} {value}" for name, value in spec.about().items())
        here += f" (here: {versions})" if versions else ""
        fix = "restore the model's files and install the versions of the run, or run again with these"
    expected = f"the {modality} encoder {spec.type} that encoded the products: {there}"
    raise InputError(expected, here, f"{fix}; `vitrine inspect STORE` shows every part")


def refuse_other_fusion(manifest: Manifest, spec: FusionSpec) -> None:
    """InputError unless `spec` is the fusion that made the embeddings of the snapshot."""
    made_by = manifest.fusion_identity
    if made_by is None or spec.identity == made_by:
        return
    parts = differing(manifest.fusion_parts, spec.parts) if manifest.fusion_parts else []
    there, here = f"identity {made_by[:16]}", f"identity {spec.identity[:16]}: another training, or another version"
    if parts:
        there, here = describe_parts(parts, manifest.fusion_parts), describe_parts(parts, spec.parts)
    raise InputError(
        f"the fusion {spec.type} that made the products' embeddings: {there}",
        here,
        "restore the folder of the run (`vitrine inspect STORE` shows it), or run again with this one",
    )


def describe_differing(theirs: dict[str, str], mine: dict[str, str]) -> tuple[str, str]:
    """The parts that differ, as (theirs, mine)."""
    parts = differing(theirs, mine)
    return describe_parts(parts, theirs), describe_parts(parts, mine)


def _fix(parts: list[str], entry: EncoderEntry) -> str:
    if all(name.startswith(PIXELS) for name in parts):
        known = entry.about.get("Pillow")
        return f"install {f'pillow=={known}' if known else 'the Pillow of the run'} here, or run again with this one"
    if VERSION in parts:
        return "install the version of vitrine that made the snapshot, or run again with this one"
    files = [name for name in parts if not name.startswith(PIXELS)]
    model = entry.about.get("model")
    where = f" in {model}" if model else ""
    return f"restore {', '.join(files)}{where} as the run had it, or run again with this one"
