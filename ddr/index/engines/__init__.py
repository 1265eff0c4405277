"""What makes and reads vector indexes: the only place that imports faiss, and torch beside the embedders.

    engine          what an engine is: train once, then each part by itself
    blank           the untrained faiss object of a shape
    faiss_engine    faiss does all of it, on a CPU or with a GPU's help
    torch_engine    matrix work of torch on any device, the result a standard file of faiss
    codebooks       codes of product quantization, trained with faiss's encoder
    kmeans          the same for the torch engine, and its k-means
    library         faiss and torch themselves, imported late
    cagra           graphs of a GPU, served by a CPU
    flats           where vectors lie in a flat part
    files           read, write, merge, search, describe
    lists           where inverted lists lie in a file, so that parts are merged without being loaded
    picking         which engine and device, and what is installed

What belongs here takes arrays and gives files. It knows no shard, no work folder and no home.
"""
