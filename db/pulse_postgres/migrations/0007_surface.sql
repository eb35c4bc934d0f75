-- What a tenant's people do by themselves: users, tokens, devices, alerts; and lists that are sorted, by index.

-- Lists of devices: by name, by site, by when they were registered, each with the id to decide between equals.
CREATE INDEX devices_by_name ON devices (tenant_id, name, device_id);
CREATE INDEX devices_by_age ON devices (tenant_id, created_at, device_id);
CREATE INDEX devices_in_site ON devices (tenant_id, site_id, device_id);
DROP INDEX devices_by_site;
CREATE INDEX devices_revoked ON devices (tenant_id, device_id) WHERE revoked_at IS NOT NULL;
-- A batch replaces a device's state, but seldom its status: where that stays, no index is written.
CREATE INDEX device_state_by_status ON device_state (tenant_id, status, device_id);

-- devices.labels, once more, to be found by. An index on the JSON itself would never be used under row-level security:
-- its operators are not leakproof, and text's are.
CREATE TABLE device_labels (
    tenant_id text NOT NULL,
    device_id text NOT NULL,
    name      text NOT NULL,
    value     text NOT NULL,
    PRIMARY KEY (tenant_id, device_id, name),
    FOREIGN KEY (tenant_id, device_id) REFERENCES devices ON DELETE CASCADE
);
CREATE INDEX device_labels_by_value ON device_labels (tenant_id, name, value, device_id);
ALTER TABLE devices NO FORCE ROW LEVEL SECURITY;
INSERT INTO device_labels (tenant_id, device_id, name, value)
    SELECT tenant_id, device_id, l.key, l.value FROM devices, jsonb_each_text(labels) AS l;
ALTER TABLE devices FORCE ROW LEVEL SECURITY;

CREATE FUNCTION index_labels() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM device_labels WHERE tenant_id = NEW.tenant_id AND device_id = NEW.device_id;
    END IF;
    INSERT INTO device_labels (tenant_id, device_id, name, value)
        SELECT NEW.tenant_id, NEW.device_id, l.key, l.value FROM jsonb_each_text(NEW.labels) AS l;
    RETURN NULL;
END $$;
CREATE TRIGGER devices_labelled AFTER INSERT ON devices FOR EACH ROW
    WHEN (NEW.labels <> '{}') EXECUTE FUNCTION index_labels();
CREATE TRIGGER devices_relabelled AFTER UPDATE OF labels ON devices FOR EACH ROW
    WHEN (NEW.labels <> OLD.labels) EXECUTE FUNCTION index_labels();

-- scopes: the areas that a token opens; none: all that its role does.
ALTER TABLE api_tokens ADD COLUMN scopes text[] CHECK (scopes <> '{}');

-- held: closed by hand, while what it told of goes on. It opens no other alert until that has ended, whoever restarts.
ALTER TABLE alerts
    ADD COLUMN held boolean NOT NULL DEFAULT false,
    ADD CHECK (NOT held OR status = 'CLOSED');
CREATE INDEX alerts_held ON alerts (tenant_id, device_id) WHERE held;
-- Who took this step, where that was somebody, and what they said.
ALTER TABLE alert_changes
    ADD COLUMN actor text NOT NULL DEFAULT '',
    ADD COLUMN note text NOT NULL DEFAULT '';

DO $$
DECLARE
    tenant text := 'nullif(current_setting(''app.tenant_id'', true), '''')';
BEGIN
    ALTER TABLE device_labels ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    EXECUTE format('CREATE POLICY web ON device_labels TO pulse_web USING (tenant_id = %s) WITH CHECK (tenant_id = %s)',
                   tenant, tenant);
    CREATE POLICY operator ON device_labels FOR SELECT TO pulse_operator USING (true);
    CREATE POLICY admin ON device_labels TO pulse_admin USING (true) WITH CHECK (true);
END $$;
GRANT SELECT ON device_labels TO pulse_operator;
GRANT SELECT, INSERT, DELETE ON device_labels TO pulse_web, pulse_admin;

-- A customer edits devices,
GRANT UPDATE (name, labels, stale_after_s, updated_at) ON devices TO pulse_web;
-- closes alerts,
GRANT UPDATE (closed_at, held) ON alerts TO pulse_web;
-- makes and revokes tokens, whose hashes it never reads,
GRANT INSERT (tenant_id, name, role, scopes, token_hash, created_by, expires_at) ON api_tokens TO pulse_web;
GRANT UPDATE (revoked_at) ON api_tokens TO pulse_web;
GRANT SELECT (scopes) ON api_tokens TO pulse_web, pulse_operator;
-- and has users, whose passwords' hashes it never reads either.
GRANT SELECT (tenant_id, user_id, username, role, email, created_at, created_by, updated_at, disabled_at, last_login_at,
    failed_logins, last_failed_at, revision) ON users TO pulse_web;
GRANT INSERT (tenant_id, username, role, email, password_hash, created_by) ON users TO pulse_web;
GRANT UPDATE (role, email, password_hash, disabled_at, updated_at, failed_logins) ON users TO pulse_web;
GRANT DELETE ON users TO pulse_web;
GRANT SELECT (tenant_id, session_id, user_id, ended_at), UPDATE (ended_at) ON sessions TO pulse_web;
-- Whoever changes their own password does so before any tenant is known.
GRANT UPDATE (updated_at) ON users TO pulse_auth;
