"""Whether a snapshot may be published: figures held against bounds, a file for each gate."""
