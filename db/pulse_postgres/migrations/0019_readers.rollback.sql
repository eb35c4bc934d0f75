DROP POLICY reader ON telemetry;
DROP POLICY reader ON devices;
DROP POLICY reader ON device_labels;
DROP POLICY reader ON device_state;
DROP POLICY reader ON alerts;
REVOKE ALL ON telemetry, devices, device_labels, device_state, alerts FROM pulse_reader;
DROP TRIGGER tenants_readers ON tenants;
DROP FUNCTION readers_follow_tenant();
DROP TABLE readers;
