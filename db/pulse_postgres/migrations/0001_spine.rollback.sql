DROP TABLE audit_log, settings, lane_partitions, quarantine, quarantine_counts, delivery_attempts, deliveries, integration_routes,
    integrations, alert_changes, alerts, telemetry, device_state, activation_codes, devices, tenants;
DROP FUNCTION ensure_telemetry_day(date), drop_telemetry_before(date), notify_device(), notify_tenant(), notify_topic(),
    notify_deliveries();
