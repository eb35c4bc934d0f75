-- What keeps requests in order: objects that know how often they were edited, and keys under which a deed is done once.

-- revision: counted up by whatever edits what people edit, whoever does it; not by what the platform notes beside that
-- (tokens, logins, secrets encrypted anew with another key).
ALTER TABLE tenants ADD COLUMN revision integer NOT NULL DEFAULT 1;
ALTER TABLE devices ADD COLUMN revision integer NOT NULL DEFAULT 1;
ALTER TABLE users ADD COLUMN revision integer NOT NULL DEFAULT 1;
ALTER TABLE integrations ADD COLUMN revision integer NOT NULL DEFAULT 1;
ALTER TABLE integration_routes ADD COLUMN revision integer NOT NULL DEFAULT 1;

CREATE FUNCTION count_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.revision := OLD.revision + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER tenants_revision BEFORE UPDATE ON tenants FOR EACH ROW
    WHEN ((OLD.name, OLD.stale_after_s, OLD.status) IS DISTINCT FROM (NEW.name, NEW.stale_after_s, NEW.status))
    EXECUTE FUNCTION count_revision();
CREATE TRIGGER devices_revision BEFORE UPDATE OF site_id, name, labels, stale_after_s, revoked_at ON devices
    FOR EACH ROW EXECUTE FUNCTION count_revision();
CREATE TRIGGER users_revision BEFORE UPDATE OF username, role, email, disabled_at ON users
    FOR EACH ROW EXECUTE FUNCTION count_revision();
CREATE TRIGGER integrations_revision BEFORE UPDATE OF name, enabled, disabled_reason, config, retry, deleted_at ON integrations
    FOR EACH ROW EXECUTE FUNCTION count_revision();
CREATE TRIGGER routes_revision BEFORE UPDATE ON integration_routes
    FOR EACH ROW EXECUTE FUNCTION count_revision();

GRANT SELECT (revision) ON devices TO pulse_web, pulse_operator;
GRANT SELECT (revision) ON integrations TO pulse_operator;
GRANT SELECT (revision) ON users TO pulse_operator, pulse_admin;

-- One row for each deed that was asked for with an Idempotency-Key, inserted in the deed's own transaction: neither is
-- there without the other, and who asks again at the same moment waits here. tenant_id is '' for operators and the admin
-- key. request: what was asked (its hash); answer: what was answered; both encrypted, for they may hold secrets.
CREATE TABLE request_keys (
    tenant_id text NOT NULL DEFAULT '',
    subject   text NOT NULL,
    key       text NOT NULL CHECK (key ~ '^[!-~]{1,255}$'),
    request   bytea NOT NULL,
    answer    bytea,
    made_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, subject, key)
);
CREATE INDEX request_keys_oldest ON request_keys (made_at);

DO $$
DECLARE
    tenant text := 'nullif(current_setting(''app.tenant_id'', true), '''')';
BEGIN
    ALTER TABLE request_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    EXECUTE format('CREATE POLICY web ON request_keys TO pulse_web USING (tenant_id = %s) WITH CHECK (tenant_id = %s)',
                   tenant, tenant);
    CREATE POLICY operator ON request_keys FOR SELECT TO pulse_operator USING (true);
    CREATE POLICY admin ON request_keys TO pulse_admin USING (true) WITH CHECK (true);
END $$;

GRANT SELECT, INSERT (tenant_id, subject, key, request), UPDATE (answer) ON request_keys TO pulse_web, pulse_admin;
-- With another secret key; after a day, and with their tenant.
GRANT UPDATE (request) ON request_keys TO pulse_admin;
GRANT DELETE ON request_keys TO pulse_admin;
GRANT SELECT (tenant_id, made_at) ON request_keys TO pulse_operator;
