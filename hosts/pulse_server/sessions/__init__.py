"""Sessions of browsers: begun, found for each request, renewed unnoticed, ended. Knows no web framework."""
