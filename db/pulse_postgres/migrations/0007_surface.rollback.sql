REVOKE UPDATE (updated_at) ON users FROM pulse_auth;
REVOKE SELECT (tenant_id, session_id, user_id, ended_at), UPDATE (ended_at) ON sessions FROM pulse_web;
REVOKE DELETE ON users FROM pulse_web;
REVOKE UPDATE (role, email, password_hash, disabled_at, updated_at, failed_logins) ON users FROM pulse_web;
REVOKE INSERT (tenant_id, username, role, email, password_hash, created_by) ON users FROM pulse_web;
REVOKE SELECT (tenant_id, user_id, username, role, email, created_at, created_by, updated_at, disabled_at, last_login_at,
    failed_logins, last_failed_at, revision) ON users FROM pulse_web;
REVOKE UPDATE (revoked_at) ON api_tokens FROM pulse_web;
REVOKE INSERT (tenant_id, name, role, scopes, token_hash, created_by, expires_at) ON api_tokens FROM pulse_web;
REVOKE UPDATE (closed_at, held) ON alerts FROM pulse_web;
REVOKE UPDATE (name, labels, stale_after_s, updated_at) ON devices FROM pulse_web;
ALTER TABLE alert_changes DROP COLUMN actor, DROP COLUMN note;
ALTER TABLE alerts DROP COLUMN held;
-- The older version knows no scopes: such a token would open everything.
ALTER TABLE api_tokens NO FORCE ROW LEVEL SECURITY;
DELETE FROM api_tokens WHERE scopes IS NOT NULL;
ALTER TABLE api_tokens FORCE ROW LEVEL SECURITY;
ALTER TABLE api_tokens DROP COLUMN scopes;
DROP TRIGGER devices_labelled ON devices;
DROP TRIGGER devices_relabelled ON devices;
DROP FUNCTION index_labels();
DROP TABLE device_labels;
DROP INDEX device_state_by_status, devices_revoked, devices_in_site, devices_by_age, devices_by_name;
CREATE INDEX devices_by_site ON devices (tenant_id, site_id);
