-- What happens to a device at a way in besides its connections, in one history with them; and whether a tenant wants a
-- device STALE as soon as its last connection has ended.

-- An event begins and ends at once. detail: why it was refused, or what became of its will; times: how often.
ALTER TABLE device_connections
    ADD COLUMN event text,
    ADD COLUMN detail text NOT NULL DEFAULT '',
    ADD COLUMN times integer NOT NULL DEFAULT 1,
    DROP CONSTRAINT device_connections_check,
    ADD CONSTRAINT device_connections_check
        CHECK ((disconnected_at IS NULL) = (reason IS NULL AND event IS NULL) AND (reason IS NULL OR event IS NULL));
GRANT UPDATE (times) ON device_connections TO pulse_pipeline;

ALTER TABLE tenants ADD COLUMN stale_on_disconnect text NOT NULL DEFAULT 'never'
    CHECK (stale_on_disconnect IN ('never', 'lost', 'always'));
