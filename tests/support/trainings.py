"""Trainings through the command that take a second, and what they start from."""

from __future__ import annotations

from encoders.training.untrained import UntrainedModel

CONFIG = "configs/demo.yaml"


WEIGHTLESS = ("encoders.text={type: hashed_text, dim: 256}", "encoders.image={type: photo_descriptors}")


QUICK_FUSION = [f"train_fusion.{setting}" for setting in ("epochs=4", "batch=32", "width=32", "evaluate_every=8")]


TINY = UntrainedModel(
    photo_side=16, patch_side=8, photo_width=32, photo_layers=1, text_width=32, text_layers=1, text_tokens=16
)


QUICK = ("train.epochs=2", "train.batch=16", "train.evaluate_every=5", "train.held_out=0.2")
