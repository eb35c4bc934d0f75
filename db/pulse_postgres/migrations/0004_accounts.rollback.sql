REVOKE INSERT ON audit_log FROM pulse_auth;
DROP POLICY auth_append ON audit_log;
DROP TABLE signing_keys, refresh_tokens, sessions, users;
