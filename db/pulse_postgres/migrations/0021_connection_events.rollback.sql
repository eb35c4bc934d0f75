ALTER TABLE tenants DROP COLUMN stale_on_disconnect;
ALTER TABLE device_connections NO FORCE ROW LEVEL SECURITY, DROP CONSTRAINT device_connections_check;
DELETE FROM device_connections WHERE event IS NOT NULL;
ALTER TABLE device_connections
    FORCE ROW LEVEL SECURITY, DROP COLUMN times, DROP COLUMN detail, DROP COLUMN event,
    ADD CONSTRAINT device_connections_check CHECK ((disconnected_at IS NULL) = (reason IS NULL));
