"""Where the files of a store lie, behind a few methods: a folder or a bucket; who is at work there, and scratch."""
