"""Everything that is SQL: migrations, login roles, and one store per module."""
