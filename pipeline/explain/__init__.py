"""Why a product of a published snapshot is, or is not, found."""
