"""How the audit log names who acts through the web application."""

ADMIN = "admin-key"
"""Whoever holds the admin key."""
