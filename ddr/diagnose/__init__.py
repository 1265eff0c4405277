"""Which plane is to blame: onset, candidates, evidence, swap test, verdict. Only looks."""
