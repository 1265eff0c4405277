"""A real corpus through every harm: WordNet's glosses by MiniLM, built, damaged, found and mended by command.

    python -m benchmarks.corpus [GLOSSES] [--from FOLDER] [--in FOLDER]

`wordnet` fetches and unpacks, `harms` are the ways of damage, `story` breaks, looks, mends and compares, `shops` puts a
home in its place for each, `interrupted` damages what is being built.
"""
