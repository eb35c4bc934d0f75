"""Simulated devices and a webhook receiver: outsiders, which know the platform by its front doors alone."""
