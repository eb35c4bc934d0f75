"""Ours: gmqtt installs a package of this name, which would be found before a folder without this file."""
