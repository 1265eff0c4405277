"""Vector indexes: planned, built in parts that survive a kill, proved by recall, published at once, checked, gone back.

    plans, choosing, preflight    wanted + shards → kind, parts, memory, time, refusal   (decide, touch nothing)
    sources/   npy, fbin, Parquet on disk or S3; the scan of every row; the sample for training
    engines/   the only place that imports faiss and torch: train, encode, merge, search
    work, stages                  the work folder of one plan: finished parts are its checkpoints
    build, worker                 what fills it
    exact, gate, measuring        exact search, recall with its interval, search parameters
    loading, child                a file of an index is loaded in a limited child
    embedders/ text to vectors by a torch model; fingerprint and golden documents
    homes/     immutable versions, what points at one, and where it has been, in a folder or a bucket
    backing/   a home as a component of a backup
    check, corpus_levels, syncing         levels 0 to 2, and 3 and 4, which look at the corpus
    repair, workshop                      what is done about what they found, and with what
    workfolders                   which of them are of use, and of which version
    spread/    the same worker call on Ray and in a Kubernetes Indexed Job
    codec      plans, parts and manifests as bytes

What belongs here knows vectors. What never does: `ddr.yaml`, click, the journal's events of other rooms, a concrete
store. A file of an index is never loaded before its digest was compared, and one of unknown origin only in a child.
"""
