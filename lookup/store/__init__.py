"""The store and what lies in it: files, manifest, records; in a folder or in a bucket."""
