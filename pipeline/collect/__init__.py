"""Which snapshots of a store are kept, what each of them names, and the deletion of what none of them does."""
