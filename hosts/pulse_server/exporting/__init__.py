"""Readings as files: how they are written, page by page, for programs, for the background and on the command line."""
