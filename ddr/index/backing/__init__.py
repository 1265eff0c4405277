"""The home of an index as a component of a backup: what is captured of it, and how it comes back.

    record      what a snapshot says of a home: which versions, which one serves, pins, and whose bytes are in it
    capturing   a home into a sink, each byte held against the manifest on its way
    restoring   from a snapshot into a home, decided first
    proving     what was restored, held against the snapshot
    component   all of it as ports.restorable, with the rehearsal

What belongs here knows homes and the ports of a backup. What never does: chunks, packs and keys, which are
`ddr/backup`, and how an index is built.
"""
