"""The host: the ``pulse`` command, the supervisor, the three roles and the web application."""
