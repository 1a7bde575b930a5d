"""The re-ranker: the first candidates of a search, put in another order by a model of stated features."""
