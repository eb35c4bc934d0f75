"""How one gets in and out: passwords and tokens, pages to log in and out on, the cookie and what guards it."""
