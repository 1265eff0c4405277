"""Where versions of an index lie, never changed once they are there, and what points at the one that serves.

    writing     a file: beside, hashed, fsynced, read back, renamed; and whether a file is still what was written
    naming      names of versions and of their files; a manifest that proves itself by its name
    home        the port: versions, what points at one, pins and leases
    folder      a folder with a link, as `ddr rollback` and any server read it
    bucket      a store of keys and bytes: segments, a manifest as the commit, a pointer by compare-and-set
    publishing  publish, go back, pin, collect: what is proved before a pointer moves

What belongs here knows files and names. What never does: faiss, numpy, how an index is searched, and what journal a
move is written to.
"""
