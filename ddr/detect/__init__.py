"""Pure statistics: a reading and a limit become a judgement with value, threshold and n. No I/O, no clock.

Thresholds are computed from sample sizes; each function names the source of its formula.
"""
