"""Readings in PostgreSQL: how they are written, read, counted, rolled up and forgotten."""
