"""Texts to vectors by a torch model, and how another model is told.

    texts        a corpus of texts: read whole once before anything is done, then piece by piece
    model        a sentence encoder from a folder: safetensors and tokenizer.json, never a pickle
    batching     texts of like length together; a batch that does not fit is halved, and no row is lost
    embedding    one shard of vectors after another, each with its receipt
    fingerprint  what an embedder is, and whether the live one still makes the vectors of 64 golden documents

What belongs here knows texts. What never does: faiss, how an index is built of the vectors.
"""
