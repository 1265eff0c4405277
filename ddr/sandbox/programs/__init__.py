"""The programs and files that a sandbox deploys as releases: copied out, never imported from here.

They stand for the code of the team that owns the service. What never belongs here: anything of ddr.
"""
