"""Code as container images, by digest: which one a deployment's file names, whether the registry still has it whole,
and naming another one. Images are never loaded, pushed or deleted; a registry is only read.
"""
