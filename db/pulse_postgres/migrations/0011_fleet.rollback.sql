REVOKE SELECT (tenant_id, device_id, created_at, expires_at, used_at), INSERT (tenant_id, device_id, code_hash, expires_at),
    DELETE ON activation_codes FROM pulse_web;
REVOKE UPDATE (token_hash, previous_token_hash, previous_until, revoked_at) ON devices FROM pulse_web;
REVOKE INSERT (tenant_id, device_id, site_id, name, labels, stale_after_s) ON devices FROM pulse_web;
DROP TRIGGER devices_stay_revoked ON devices;
DROP FUNCTION stay_revoked();
DROP TRIGGER devices_rotated ON devices;
DROP FUNCTION keep_previous_token();
DROP TABLE device_connections;
