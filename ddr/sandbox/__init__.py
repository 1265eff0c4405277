"""Builds a small real ML platform on disk, drives traffic through it, and hurts it on purpose.

No mock: a real MLflow store, real trained models, a real FAISS index, a serving process that answers HTTP. The same
connectors serve it and production. What never belongs here: knowledge of how ddr finds or repairs anything.

Everything random follows from the seed, so that two sandboxes of one seed give the same answers; only MLflow's own
ids, and the digests of folders in which they are written, differ. Every path is relative: a sandbox whose server is
stopped may be moved and copied. `build` makes one, `traffic` lets time pass, `faults` lists what can be broken,
`state` says whether everything is as it was.
"""
