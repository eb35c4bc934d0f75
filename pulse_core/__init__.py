"""The core of OpsConductor-Pulse: what a device's message means, and what must follow from it.

Plugins import :mod:`pulse_core.api` and nothing else.
"""
