"""Live segments into one index per partition, as a Beam pipeline on references."""
