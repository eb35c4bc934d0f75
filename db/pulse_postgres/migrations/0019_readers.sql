-- Readers: logins of people's own tools (Grafana), each of one tenant, which the login's name decides and no setting can
-- change. They are members of pulse_reader (pulse_postgres.roles makes it), which alone has rights and policies.
-- active: whether the tenant is at work, kept here because a policy that looked at tenants would go in a circle.
CREATE TABLE readers (
    tenant_id  text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    name       text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_]{0,31}$'),
    login      name NOT NULL UNIQUE,
    active     boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, name)
);
ALTER TABLE readers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY web ON readers TO pulse_web
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), ''))
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), ''));
CREATE POLICY operator ON readers FOR SELECT TO pulse_operator USING (true);
CREATE POLICY admin ON readers TO pulse_admin USING (true) WITH CHECK (true);
CREATE POLICY reader ON readers FOR SELECT TO pulse_reader USING (login = current_user AND active);

CREATE FUNCTION readers_follow_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE readers SET active = NEW.status = 'ACTIVE' WHERE tenant_id = NEW.tenant_id;
    RETURN NULL;
END $$;
CREATE TRIGGER tenants_readers AFTER UPDATE OF status ON tenants
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION readers_follow_tenant();

-- The subquery refers to nothing of the row, so that a statement asks it once and not for each row.
DO $$
DECLARE
    tbl text;
BEGIN
    FOREACH tbl IN ARRAY ARRAY['telemetry', 'devices', 'device_labels', 'device_state', 'alerts'] LOOP
        EXECUTE format('CREATE POLICY reader ON %I FOR SELECT TO pulse_reader USING (tenant_id = '
                       '(SELECT r.tenant_id FROM readers r WHERE r.login = current_user))', tbl);
    END LOOP;
END $$;

GRANT SELECT ON readers TO pulse_web, pulse_operator;
GRANT SELECT, INSERT, DELETE ON readers TO pulse_admin;
GRANT UPDATE (active) ON readers TO pulse_admin;
GRANT SELECT (tenant_id, login) ON readers TO pulse_reader;
GRANT SELECT ON telemetry, device_labels, alerts TO pulse_reader;
GRANT SELECT (tenant_id, device_id, site_id, name, labels, activated, revoked_at, stale_after_s, created_at, updated_at)
    ON devices TO pulse_reader;
GRANT SELECT (tenant_id, device_id, status, status_since, status_until, last_seen_at, last_ts, source)
    ON device_state TO pulse_reader;
