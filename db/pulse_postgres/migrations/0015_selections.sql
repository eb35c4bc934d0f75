-- Readings as they are exported, looked for by type, and forgotten device by device.

-- Devices stand in the order of code points, wherever the database was made: in a language's order, a page behind a
-- place would need another index. Where that is the database's own order anyway, nothing is done.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_database WHERE datname = current_database() AND (
            datlocprovider = 'b' OR (datlocprovider = 'c' AND datcollate IN ('C', 'POSIX')))) THEN
        ALTER TABLE telemetry ALTER COLUMN device_id TYPE text COLLATE "C";
    END IF;
END $$;

-- A device tells of few events among many readings: its timeline asks for them alone.
CREATE INDEX telemetry_events ON telemetry (tenant_id, device_id, ts, key_hash) WHERE msg_type = 'event';

-- A device that is gone or revoked is forgotten also while its tenant is at work.
GRANT SELECT (device_id) ON telemetry TO pulse_admin;
ALTER POLICY admin_remove ON telemetry USING (tenant_id <> '' AND (
    NOT EXISTS (SELECT FROM tenants t WHERE t.tenant_id = telemetry.tenant_id AND t.status = 'ACTIVE')
    OR NOT EXISTS (SELECT FROM devices d WHERE d.tenant_id = telemetry.tenant_id
                   AND d.device_id = telemetry.device_id AND d.revoked_at IS NULL)));
