REVOKE SELECT, INSERT, UPDATE ON readings_expired FROM pulse_admin;
REVOKE DELETE ON api_tokens FROM pulse_admin;
REVOKE SELECT (ts) ON telemetry FROM pulse_admin;
DO $$
DECLARE
    tbl text;
BEGIN
    FOREACH tbl IN ARRAY ARRAY['telemetry', 'quarantine', 'quarantine_counts'] LOOP
        EXECUTE format('REVOKE DELETE, SELECT (tenant_id) ON %I FROM pulse_admin', tbl);
        EXECUTE format('DROP POLICY admin_remove ON %I', tbl);
    END LOOP;
END $$;
ALTER TABLE tenants DROP COLUMN suspended_at;
DROP INDEX audit_of_tenant;
ALTER TABLE audit_log DROP COLUMN agent, DROP COLUMN written_by;
