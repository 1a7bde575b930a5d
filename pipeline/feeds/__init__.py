"""What shops export, made a catalog: a feed is found, recognised, read, mapped, written and reported, in this order.

`import_feed.py` is an import from its top. Adding a thing is adding one file, and nothing lists them:

- **a map**, `<name>.yaml` here: which column comes from where, and through which conversions (`feed_map.py` has the
  keys, `conversions.py` what they do). Beside it a sample, `samples/<name>.<ending>`, written from the public
  specification; `vitrine import sample:<name>` reads it, and tests put every map through its sample.
- **a syntax**, `syntax/<name>.py` with `class Syntax(FeedSyntax)` (`syntax/base.py`): whether a head is one of it, the
  raw columns, and the items as batches of raw columns with their places; what cannot be read is a `BadRow`. A column
  may be texts, numbers, lists, structs: a map reaches into them by a path, `shipping.price`. A syntax whose columns
  are not all known from the head is `open_ended`: columns of the map are always written then, others where the head
  shows them, and those that come later are counted.

Items that are several rows are put together by `group: {by: COLUMN}` of a map.
"""
