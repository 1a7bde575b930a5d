"""What a run publishes: the manifest, the gates before it, and verification after."""
