-- What devices come back to: sessions that outlive their connections, and commands that are known by a number.

-- What a device's client subscribed to. expires_at: when the session is over; NULL while it has a connection.
-- expiry_s: how long it outlives that. subscriptions: filter → a number that the ingester understands.
CREATE TABLE device_sessions (
    tenant_id     text NOT NULL,
    device_id     text NOT NULL,
    client_id     text NOT NULL CHECK (length(client_id) <= 256),
    subscriptions jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(subscriptions) = 'object'),
    expiry_s      bigint NOT NULL CHECK (expiry_s BETWEEN 1 AND 4294967295),
    expires_at    timestamptz,
    updated_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, device_id, client_id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES devices ON DELETE CASCADE
);
CREATE INDEX device_sessions_left ON device_sessions (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX device_sessions_connected ON device_sessions (tenant_id, device_id, client_id) WHERE expires_at IS NULL;

ALTER TABLE device_sessions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON device_sessions TO pulse_pipeline USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE, UPDATE (subscriptions, expiry_s, expires_at, updated_at) ON device_sessions
    TO pulse_pipeline;

-- number: the count of the device's commands, from 65535 on to 1 again; no two open ones have the same.
ALTER TABLE device_commands ADD COLUMN number integer CHECK (number BETWEEN 1 AND 65535);
ALTER TABLE device_commands NO FORCE ROW LEVEL SECURITY;
UPDATE device_commands c SET number = (counted.n - 1) % 65535 + 1
    FROM (SELECT tenant_id, command_id, row_number() OVER (PARTITION BY tenant_id, device_id
                                                           ORDER BY created_at, command_id) AS n
          FROM device_commands) AS counted
    WHERE c.tenant_id = counted.tenant_id AND c.command_id = counted.command_id;
ALTER TABLE device_commands ALTER COLUMN number SET NOT NULL;
ALTER TABLE device_commands FORCE ROW LEVEL SECURITY;
GRANT INSERT (number) ON device_commands TO pulse_web;
