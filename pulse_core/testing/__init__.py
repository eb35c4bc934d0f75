"""Contract kits: what every plugin of a kind must do, as tests that its author inherits.

They need pytest and pytest-asyncio. The product never imports them.
"""
