"""The corpus: what its files are, every row looked at once, the rows an index is trained and measured with.

    places     patterns → files and objects, with the generation that tells a changed one
    arrays, parquet, ids     formats; headers before bytes, and no byte is ever executed
    opening    find (headers only) and open_shard
    corpus     all shards as one, in batches, read ahead
    hashes     of rows, of ids, of sets of ids
    scan       the one look at every row
    sample     the rows for training, the same ones however the corpus is cut into shards

What never belongs here: an engine. Only `parquet` imports pyarrow.
"""
