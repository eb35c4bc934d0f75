-- Accounts: people's names and passwords, their sessions, and the keys that sign their tokens.

-- tenant_id is '' for operators, so it refers to no tenant: who lets somebody in joins them.
CREATE TABLE users (
    tenant_id      text NOT NULL DEFAULT '',
    user_id        uuid NOT NULL DEFAULT gen_random_uuid(),
    username       text NOT NULL UNIQUE CHECK (username ~ '^[a-z0-9][a-z0-9._@+-]{0,63}$'),
    role           text NOT NULL CHECK (role IN ('customer_viewer', 'customer_admin', 'operator', 'operator_admin')),
    email          text NOT NULL DEFAULT '',
    password_hash  text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    created_by     text NOT NULL,
    updated_at     timestamptz NOT NULL DEFAULT now(),
    disabled_at    timestamptz,
    last_login_at  timestamptz,
    -- In a row, since the last login.
    failed_logins  integer NOT NULL DEFAULT 0,
    last_failed_at timestamptz,
    PRIMARY KEY (tenant_id, user_id),
    CHECK ((tenant_id = '') = (role IN ('operator', 'operator_admin')))
);
CREATE INDEX users_by_id ON users (user_id);

-- renewed_at: its last refresh token was made then; too long ago, and it is over. expires_at: it is over in any case.
CREATE TABLE sessions (
    tenant_id  text NOT NULL,
    session_id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id    uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    renewed_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz,
    PRIMARY KEY (tenant_id, session_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);
CREATE INDEX sessions_by_id ON sessions (session_id);
CREATE INDEX sessions_by_user ON sessions (tenant_id, user_id);

-- Used ones stay as long as their session, so that one shown again is known. token_hash: SHA-256 of 256 random bits.
CREATE TABLE refresh_tokens (
    tenant_id  text NOT NULL,
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    session_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at    timestamptz,
    PRIMARY KEY (tenant_id, token_hash),
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (tenant_id, session_id);

-- The newest whose signs_from has come signs. private_key is encrypted with the platform's secret key.
CREATE TABLE signing_keys (
    kid         text PRIMARY KEY,
    public_key  bytea NOT NULL,
    private_key bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    signs_from  timestamptz NOT NULL
);

DO $$
DECLARE
    tbl text;
    tenant text := 'nullif(current_setting(''app.tenant_id'', true), '''')';
BEGIN
    FOREACH tbl IN ARRAY ARRAY['users', 'sessions', 'refresh_tokens'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', tbl);
        EXECUTE format('CREATE POLICY web ON %I TO pulse_web USING (tenant_id = %s) WITH CHECK (tenant_id = %s)',
                       tbl, tenant, tenant);
        EXECUTE format('CREATE POLICY operator ON %I FOR SELECT TO pulse_operator USING (true)', tbl);
        EXECUTE format('CREATE POLICY auth ON %I TO pulse_auth USING (true) WITH CHECK (true)', tbl);
        EXECUTE format('CREATE POLICY admin ON %I TO pulse_admin USING (true) WITH CHECK (true)', tbl);
    END LOOP;
    ALTER TABLE signing_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    CREATE POLICY auth ON signing_keys TO pulse_auth USING (true) WITH CHECK (true);
    CREATE POLICY admin ON signing_keys TO pulse_admin USING (true) WITH CHECK (true);
    CREATE POLICY auth_append ON audit_log FOR INSERT TO pulse_auth WITH CHECK (true);
END $$;

GRANT SELECT (tenant_id, user_id, username, role, email, created_at, created_by, updated_at, disabled_at, last_login_at,
    failed_logins, last_failed_at) ON users TO pulse_operator, pulse_admin;
-- DELETE: with a tenant go its users.
GRANT INSERT, UPDATE, DELETE ON users TO pulse_admin;
GRANT SELECT ON users TO pulse_auth;
GRANT UPDATE (password_hash, last_login_at, failed_logins, last_failed_at) ON users TO pulse_auth;

GRANT SELECT ON sessions TO pulse_operator, pulse_admin;
GRANT UPDATE (ended_at) ON sessions TO pulse_admin;
GRANT SELECT, INSERT, DELETE ON sessions TO pulse_auth;
GRANT UPDATE (renewed_at, ended_at) ON sessions TO pulse_auth;

GRANT SELECT (tenant_id, session_id, created_at, used_at) ON refresh_tokens TO pulse_operator;
GRANT SELECT, INSERT ON refresh_tokens TO pulse_auth;
GRANT UPDATE (used_at) ON refresh_tokens TO pulse_auth;

GRANT SELECT, INSERT ON signing_keys TO pulse_auth;
GRANT SELECT, INSERT, DELETE ON signing_keys TO pulse_admin;
GRANT UPDATE (private_key) ON signing_keys TO pulse_admin;

-- Who logged in, and whose refresh token was shown twice.
GRANT INSERT ON audit_log TO pulse_auth;
