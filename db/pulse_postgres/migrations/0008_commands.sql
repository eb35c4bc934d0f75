-- Commands to devices: queued by customers, given to devices by whatever carries them, acknowledged by devices.

-- QUEUED and SENT are open while expires_at is ahead; past it they read as EXPIRED, and are made so in time.
-- payload is json, not jsonb: a device gets what was written, no longer than that (jsonb would write 1e308 out).
-- way: the ingester that gave it to the device first, at sent_at.
CREATE TABLE device_commands (
    tenant_id       text NOT NULL,
    device_id       text NOT NULL,
    command_id      uuid NOT NULL DEFAULT gen_random_uuid(),
    name            text NOT NULL CHECK (name ~ '^[A-Za-z0-9_.:-]{1,64}$'),
    payload         json NOT NULL CHECK (octet_length(payload::text) <= 8192),
    status          text NOT NULL DEFAULT 'QUEUED' CHECK (status IN ('QUEUED', 'SENT', 'ACKNOWLEDGED', 'EXPIRED')),
    created_at      timestamptz NOT NULL DEFAULT now(),
    created_by      text NOT NULL,
    expires_at      timestamptz NOT NULL CHECK (expires_at > created_at),
    sent_at         timestamptz,
    acknowledged_at timestamptz,
    way             text,
    PRIMARY KEY (tenant_id, command_id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES devices ON DELETE CASCADE,
    CHECK ((sent_at IS NULL) = (way IS NULL)),
    CHECK (status <> 'QUEUED' OR sent_at IS NULL),
    CHECK (status NOT IN ('SENT', 'ACKNOWLEDGED') OR sent_at IS NOT NULL),
    CHECK ((status = 'ACKNOWLEDGED') = (acknowledged_at IS NOT NULL))
);
CREATE INDEX device_commands_open ON device_commands (tenant_id, device_id, created_at, command_id)
    WHERE status IN ('QUEUED', 'SENT');
CREATE INDEX device_commands_overdue ON device_commands (expires_at) WHERE status IN ('QUEUED', 'SENT');
CREATE INDEX device_commands_newest ON device_commands (tenant_id, created_at DESC, command_id);
CREATE INDEX device_commands_not_done ON device_commands (tenant_id, created_at DESC, command_id)
    WHERE status <> 'ACKNOWLEDGED';
CREATE INDEX device_commands_of_device ON device_commands (tenant_id, device_id, created_at DESC, command_id);

-- Whoever carries commands is told at commit.
CREATE FUNCTION notify_command() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('pulse_commands', NEW.tenant_id || '/' || NEW.device_id);
    RETURN NULL;
END $$;
CREATE TRIGGER device_commands_notify AFTER INSERT ON device_commands FOR EACH ROW EXECUTE FUNCTION notify_command();

ALTER TABLE device_commands ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY web ON device_commands TO pulse_web
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), ''))
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), ''));
CREATE POLICY operator ON device_commands FOR SELECT TO pulse_operator USING (true);
CREATE POLICY pipeline ON device_commands TO pulse_pipeline USING (true) WITH CHECK (true);

GRANT SELECT ON device_commands TO pulse_web, pulse_operator, pulse_pipeline;
-- What a customer cannot say: that a device has it.
GRANT INSERT (tenant_id, device_id, command_id, name, payload, created_at, created_by, expires_at)
    ON device_commands TO pulse_web;
GRANT UPDATE (status, sent_at, acknowledged_at, way) ON device_commands TO pulse_pipeline;
-- DELETE: the old ones, by retention.
GRANT DELETE ON device_commands TO pulse_pipeline;
