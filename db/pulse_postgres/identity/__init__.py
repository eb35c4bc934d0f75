"""Who may come in: users, tokens, sessions, the keys that sign, and which tenants are active."""
