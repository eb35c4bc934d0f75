"""What the web application answers, as the OpenAPI document describes it."""
