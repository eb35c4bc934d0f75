-- Browsers that are logged in. tenant_id is '' for operators.

-- id_hash: SHA-256 of the 256 random bits that the browser's cookie holds. tokens: the provider's, encrypted with the
-- platform's secret key; nothing is left of them once the session has ended. subject, role and email are what the
-- provider said of them, if it is vouched for.
CREATE TABLE browser_sessions (
    tenant_id      text NOT NULL DEFAULT '',
    session_id     uuid NOT NULL DEFAULT gen_random_uuid(),
    id_hash        bytea NOT NULL UNIQUE CHECK (length(id_hash) = 32),
    provider       text NOT NULL,
    subject        text NOT NULL,
    role           text NOT NULL CHECK (role IN ('customer_viewer', 'customer_admin', 'operator', 'operator_admin')),
    email          text NOT NULL DEFAULT '',
    tokens         bytea,
    created_at     timestamptz NOT NULL DEFAULT now(),
    -- Written once a minute at most; too long ago, and the session is over.
    seen_at        timestamptz NOT NULL DEFAULT now(),
    -- It is over in any case.
    expires_at     timestamptz NOT NULL,
    ended_at       timestamptz,
    -- Until tokens_until the tokens are good; from renew_at on somebody is to get the next ones. Whoever does so says
    -- until when nobody else may try: a refresh token is good for one time.
    tokens_until   timestamptz NOT NULL,
    renew_at       timestamptz NOT NULL,
    renewing_until timestamptz,
    vouched        boolean NOT NULL DEFAULT true,
    -- Of a login elsewhere: what the browser brought back is good for one time.
    departure_hash bytea UNIQUE CHECK (length(departure_hash) = 32),
    address        text NOT NULL DEFAULT '',
    agent          text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, session_id),
    CHECK ((tenant_id = '') = (role IN ('operator', 'operator_admin'))),
    CHECK ((ended_at IS NULL) = (tokens IS NOT NULL))
);

ALTER TABLE browser_sessions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY web ON browser_sessions TO pulse_web
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), ''))
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), ''));
CREATE POLICY operator ON browser_sessions FOR SELECT TO pulse_operator USING (true);
CREATE POLICY auth ON browser_sessions TO pulse_auth USING (true) WITH CHECK (true);
CREATE POLICY admin ON browser_sessions TO pulse_admin USING (true) WITH CHECK (true);

GRANT SELECT (tenant_id, session_id, provider, subject, role, email, created_at, seen_at, expires_at, ended_at, address,
    agent) ON browser_sessions TO pulse_operator;
GRANT SELECT, INSERT, DELETE ON browser_sessions TO pulse_auth;
GRANT UPDATE (subject, role, email, tokens, vouched, seen_at, ended_at, tokens_until, renew_at, renewing_until)
    ON browser_sessions TO pulse_auth;
-- To encrypt tokens anew, and to remove a tenant.
GRANT SELECT (tenant_id, session_id, tokens) ON browser_sessions TO pulse_admin;
GRANT UPDATE (tokens) ON browser_sessions TO pulse_admin;
GRANT DELETE ON browser_sessions TO pulse_admin;
