ALTER POLICY admin_remove ON telemetry USING (tenant_id <> '' AND NOT EXISTS (
    SELECT FROM tenants t WHERE t.tenant_id = telemetry.tenant_id AND t.status = 'ACTIVE'));
REVOKE SELECT (device_id) ON telemetry FROM pulse_admin;
DROP INDEX telemetry_events;
ALTER TABLE telemetry ALTER COLUMN device_id TYPE text COLLATE "default";
