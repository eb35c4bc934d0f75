-- What people said of a tenant's metrics: their unit, what they are, in which range they belong. Which metrics there are
-- the readings say; a row here may be there before the first of them. No length is checked here: the API does.
CREATE TABLE metric_catalogue (
    tenant_id   text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    name        text NOT NULL CHECK (name ~ '^[A-Za-z0-9_.:-]{1,64}$'),
    unit        text NOT NULL DEFAULT '',
    description text NOT NULL DEFAULT '',
    low         double precision,
    high        double precision,
    revision    integer NOT NULL DEFAULT 1,
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_by  text NOT NULL,
    PRIMARY KEY (tenant_id, name),
    CHECK (low <= high)
);
CREATE TRIGGER metrics_revision BEFORE UPDATE ON metric_catalogue FOR EACH ROW EXECUTE FUNCTION count_revision();

ALTER TABLE metric_catalogue ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY web ON metric_catalogue TO pulse_web
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), ''))
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), ''));
CREATE POLICY operator ON metric_catalogue FOR SELECT TO pulse_operator USING (true);
CREATE POLICY admin ON metric_catalogue TO pulse_admin USING (true) WITH CHECK (true);

GRANT SELECT ON metric_catalogue TO pulse_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON metric_catalogue TO pulse_web, pulse_admin;
