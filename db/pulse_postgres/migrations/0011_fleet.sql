-- What a tenant's admins do with their devices by themselves, and which connections each device had.

-- Connections that last, as the ingesters tell of them: written in batches beside the data path, so the newest may be
-- missing for a moment. source: the ingester; protocol: what it speaks there, as mqtts.
CREATE TABLE device_connections (
    tenant_id       text NOT NULL,
    connection_id   uuid NOT NULL,
    device_id       text NOT NULL,
    source          text NOT NULL,
    protocol        text NOT NULL DEFAULT '',
    address         text NOT NULL DEFAULT '',
    client_id       text NOT NULL DEFAULT '',
    connected_at    timestamptz NOT NULL,
    disconnected_at timestamptz,
    reason          text,
    PRIMARY KEY (tenant_id, connection_id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES devices ON DELETE CASCADE,
    CHECK ((disconnected_at IS NULL) = (reason IS NULL))
);
CREATE INDEX device_connections_of_device ON device_connections (tenant_id, device_id, connected_at DESC, connection_id);
CREATE INDEX device_connections_open ON device_connections (connected_at) WHERE disconnected_at IS NULL;
CREATE INDEX device_connections_ended ON device_connections (disconnected_at);

ALTER TABLE device_connections ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY web ON device_connections TO pulse_web
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), ''))
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), ''));
CREATE POLICY operator ON device_connections FOR SELECT TO pulse_operator USING (true);
CREATE POLICY pipeline ON device_connections TO pulse_pipeline USING (true) WITH CHECK (true);
GRANT SELECT ON device_connections TO pulse_web, pulse_operator;
GRANT SELECT, INSERT, DELETE, UPDATE (disconnected_at, reason) ON device_connections TO pulse_pipeline;

-- Whoever gives a device a new token need not be able to read the hash of the old one, to let it be valid for a while.
CREATE FUNCTION keep_previous_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.previous_token_hash := OLD.token_hash;
    RETURN NEW;
END $$;
CREATE TRIGGER devices_rotated BEFORE UPDATE OF token_hash ON devices FOR EACH ROW
    WHEN (NEW.token_hash <> OLD.token_hash AND NEW.previous_until IS NOT NULL AND NEW.previous_token_hash IS NULL)
    EXECUTE FUNCTION keep_previous_token();

-- Whoever is shut out stays out, whoever asks.
CREATE FUNCTION stay_revoked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE insufficient_privilege USING MESSAGE = 'a revoked device stays revoked';
END $$;
CREATE TRIGGER devices_stay_revoked BEFORE UPDATE OF revoked_at, token_hash ON devices FOR EACH ROW
    WHEN (OLD.revoked_at IS NOT NULL AND (NEW.revoked_at IS DISTINCT FROM OLD.revoked_at OR NEW.token_hash IS NOT NULL))
    EXECUTE FUNCTION stay_revoked();

-- A customer registers devices, gives them codes and tokens, whose hashes it never reads, and shuts them out.
GRANT INSERT (tenant_id, device_id, site_id, name, labels, stale_after_s) ON devices TO pulse_web;
GRANT UPDATE (token_hash, previous_token_hash, previous_until, revoked_at) ON devices TO pulse_web;
GRANT SELECT (tenant_id, device_id, created_at, expires_at, used_at), INSERT (tenant_id, device_id, code_hash, expires_at),
    DELETE ON activation_codes TO pulse_web;
