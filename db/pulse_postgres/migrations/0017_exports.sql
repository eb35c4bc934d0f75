-- Readings that a tenant takes away as a file: what was asked for, how far it is, and the file itself in pieces.

-- RUNNING: a worker has it until claimed_until, and says so anew with each piece; past that, another goes on behind
-- place, which is committed together with the piece that ends there. bytes is the length of the file so far.
CREATE TABLE telemetry_exports (
    tenant_id     text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    export_id     uuid NOT NULL DEFAULT gen_random_uuid(),
    format        text NOT NULL CHECK (format IN ('csv', 'jsonl')),
    devices       text[],
    sites         text[],
    metrics       text[],
    starts_at     timestamptz,
    ends_at       timestamptz NOT NULL CHECK (ends_at > starts_at),
    status        text NOT NULL DEFAULT 'PENDING'
        CHECK (status IN ('PENDING', 'RUNNING', 'DONE', 'FAILED', 'CANCELLED', 'EXPIRED')),
    readings      bigint NOT NULL DEFAULT 0,
    bytes         bigint NOT NULL DEFAULT 0,
    pieces        integer NOT NULL DEFAULT 0,
    share         double precision NOT NULL DEFAULT 0 CHECK (share BETWEEN 0 AND 1),
    place         jsonb,
    error         text NOT NULL DEFAULT '',
    worker        uuid,
    claimed_until timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    created_by    text NOT NULL,
    started_at    timestamptz,
    finished_at   timestamptz,
    expires_at    timestamptz,
    PRIMARY KEY (tenant_id, export_id),
    CHECK ((status IN ('PENDING', 'RUNNING')) = (finished_at IS NULL))
);
CREATE INDEX telemetry_exports_newest ON telemetry_exports (tenant_id, created_at DESC, export_id);
CREATE INDEX telemetry_exports_open ON telemetry_exports (coalesce(claimed_until, created_at))
    WHERE status IN ('PENDING', 'RUNNING');

-- piece is deflated by whoever writes it: the database is not to try again.
CREATE TABLE telemetry_export_pieces (
    tenant_id text NOT NULL,
    export_id uuid NOT NULL,
    number    integer NOT NULL CHECK (number >= 0),
    piece     bytea NOT NULL CHECK (octet_length(piece) <= 1048576),
    PRIMARY KEY (tenant_id, export_id, number),
    FOREIGN KEY (tenant_id, export_id) REFERENCES telemetry_exports ON DELETE CASCADE
);
ALTER TABLE telemetry_export_pieces ALTER COLUMN piece SET STORAGE EXTERNAL;

ALTER TABLE telemetry_exports ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE telemetry_export_pieces ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY web ON telemetry_exports TO pulse_web
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), ''))
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), ''));
CREATE POLICY web ON telemetry_export_pieces TO pulse_web
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), ''))
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), ''));
CREATE POLICY operator ON telemetry_exports FOR SELECT TO pulse_operator USING (true);
CREATE POLICY admin ON telemetry_exports TO pulse_admin USING (true) WITH CHECK (true);

-- The worker writes a tenant's file as the tenant: what it reads and what it writes is bound to it alike.
GRANT SELECT, DELETE ON telemetry_exports TO pulse_web;
GRANT INSERT (tenant_id, export_id, format, devices, sites, metrics, starts_at, ends_at, created_by)
    ON telemetry_exports TO pulse_web;
GRANT UPDATE (status, readings, bytes, pieces, share, place, error, worker, claimed_until, started_at, finished_at,
    expires_at) ON telemetry_exports TO pulse_web;
GRANT SELECT, INSERT, DELETE ON telemetry_export_pieces TO pulse_web;
GRANT SELECT ON telemetry_exports TO pulse_operator;
-- Across tenants: whose turn it is, and nothing of what is in the files.
GRANT SELECT, UPDATE (status, worker, claimed_until, started_at), DELETE ON telemetry_exports TO pulse_admin;
