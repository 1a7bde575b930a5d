"""Why a hit is one: what each half and each modality gave, which words mattered, and which region of the photo."""
