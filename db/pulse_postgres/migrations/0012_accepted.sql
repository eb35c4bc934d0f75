-- How many messages of a tenant were accepted in each minute, counted with every batch as refusals are
-- (quarantine_counts). shard: the lane that counts, so that lanes never wait for each other's row. The minute is that of
-- our clock when the message came.
CREATE TABLE accepted_counts (
    tenant_id text NOT NULL,
    minute    timestamptz NOT NULL,
    shard     smallint NOT NULL,
    accepted  bigint NOT NULL,
    PRIMARY KEY (tenant_id, minute, shard)
) WITH (fillfactor = 70);

ALTER TABLE accepted_counts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY web ON accepted_counts TO pulse_web
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), ''))
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), ''));
CREATE POLICY operator ON accepted_counts FOR SELECT TO pulse_operator USING (true);
CREATE POLICY pipeline ON accepted_counts TO pulse_pipeline USING (true) WITH CHECK (true);
CREATE POLICY admin_remove ON accepted_counts TO pulse_admin USING (tenant_id <> '' AND NOT EXISTS (
    SELECT FROM tenants t WHERE t.tenant_id = accepted_counts.tenant_id AND t.status = 'ACTIVE'));

GRANT SELECT ON accepted_counts TO pulse_web, pulse_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON accepted_counts TO pulse_pipeline;
GRANT DELETE, SELECT (tenant_id) ON accepted_counts TO pulse_admin;
