"""Names of ids and categories, for the packages above `encoders` (see encoders/names.py)."""

from encoders.names import NO_CATEGORY, SEPARATOR, category_key, category_name, clean_id, same_category

__all__ = ["NO_CATEGORY", "SEPARATOR", "category_key", "category_name", "clean_id", "same_category"]
