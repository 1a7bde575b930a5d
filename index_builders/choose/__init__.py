"""Which index a partition gets: settings, candidates, earlier training, and what it will take."""
