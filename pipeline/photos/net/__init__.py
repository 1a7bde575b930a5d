"""Photos by URL: asked of allowed hosts at public addresses, within bounds of time and size, and kept in a cache."""
