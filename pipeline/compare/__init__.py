"""What differs between two snapshots, row by row, and between the published one and the catalog as it is."""
