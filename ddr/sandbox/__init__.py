"""Builds a small real ML platform on disk, drives traffic through it, and hurts it on purpose.

No mock: a real MLflow store, real trained models, a real FAISS index, a serving process that answers HTTP. The same
connectors serve it and production. What never belongs here: knowledge of how ddr finds or repairs anything.
"""
