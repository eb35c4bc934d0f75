-- What operators need: where an audited request came from, since when a tenant is suspended, and how one is removed.

-- agent: the User-Agent. written_by: the login role that appended the line, so that a customer who reads the log of its
-- tenant sees the addresses of its own people and not the operators'.
ALTER TABLE audit_log
    ADD COLUMN agent text NOT NULL DEFAULT '',
    ADD COLUMN written_by text NOT NULL DEFAULT current_user;
CREATE INDEX audit_of_tenant ON audit_log (tenant_id, at DESC, audit_id);

ALTER TABLE tenants ADD COLUMN suspended_at timestamptz;
ALTER TABLE tenants NO FORCE ROW LEVEL SECURITY;
UPDATE tenants SET suspended_at = now() WHERE status = 'SUSPENDED';
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;

-- A tenant is removed in steps: what refers to no tenant first, day by day. So the policies let it go while the tenant
-- is suspended, and when it is gone; of a tenant at work nobody can remove anything this way.
DO $$
DECLARE
    tbl text;
BEGIN
    FOREACH tbl IN ARRAY ARRAY['telemetry', 'quarantine', 'quarantine_counts'] LOOP
        EXECUTE format('CREATE POLICY admin_remove ON %I TO pulse_admin USING (tenant_id <> '''' AND NOT EXISTS ('
                       'SELECT FROM tenants t WHERE t.tenant_id = %I.tenant_id AND t.status = ''ACTIVE''))', tbl, tbl);
        EXECUTE format('GRANT DELETE, SELECT (tenant_id) ON %I TO pulse_admin', tbl);
    END LOOP;
END $$;
GRANT SELECT (ts) ON telemetry TO pulse_admin;
GRANT DELETE ON api_tokens TO pulse_admin;
GRANT SELECT, INSERT, UPDATE ON readings_expired TO pulse_admin;
