"""The OpenAPI document: what every route takes and answers, made of the routes themselves."""
