"""The worker call on other machines: by Ray, and in a Kubernetes Indexed Job.

    rays        each part one task of Ray: starts the driver, hears what became of each part
    ray_driver  that process, and what Ray runs; the only file that imports ray
    kubernetes  the manifests of an Indexed Job, as text; talks to no cluster
    sameness    whether this machine makes the bytes that the plan was made for

What comes back are receipts. Parts lie in the work folder that all see, or in the depot, and a driver that dies finds
them there. Nothing in here knows how a part is made, and nothing opens a store: what opens a bench comes in.
"""
