-- The spine: tenants, devices, what they said, how they are, alerts, and who is told.
-- Every tenant table: tenant_id leads its keys, foreign keys are composite, row-level security is forced.
-- The login roles exist already (pulse_postgres.roles makes them before the first migration).

CREATE TABLE tenants (
    tenant_id     text PRIMARY KEY CHECK (tenant_id ~ '^[A-Za-z0-9_.:-]{1,64}$'),
    name          text NOT NULL DEFAULT '',
    status        text NOT NULL DEFAULT 'ACTIVE' CHECK (status IN ('ACTIVE', 'SUSPENDED')),
    stale_after_s real CHECK (stale_after_s > 0),
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE devices (
    tenant_id           text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    device_id           text NOT NULL CHECK (device_id ~ '^[A-Za-z0-9_.:-]{1,128}$'),
    site_id             text NOT NULL CHECK (site_id ~ '^[A-Za-z0-9_.:-]{1,64}$'),
    name                text NOT NULL DEFAULT '',
    labels              jsonb NOT NULL DEFAULT '{}',
    revoked_at          timestamptz,
    token_hash          bytea CHECK (length(token_hash) = 32),
    previous_token_hash bytea CHECK (length(previous_token_hash) = 32),
    activated           boolean GENERATED ALWAYS AS (token_hash IS NOT NULL) STORED,
    previous_until      timestamptz,
    stale_after_s       real CHECK (stale_after_s > 0),
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, device_id)
);
CREATE INDEX devices_by_id ON devices (device_id);
CREATE INDEX devices_by_site ON devices (tenant_id, site_id);

CREATE TABLE activation_codes (
    tenant_id  text NOT NULL,
    device_id  text NOT NULL,
    code_hash  bytea NOT NULL UNIQUE CHECK (length(code_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    PRIMARY KEY (tenant_id, device_id, code_hash),
    FOREIGN KEY (tenant_id, device_id) REFERENCES devices ON DELETE CASCADE
);

-- One row a device, replaced by every batch that touches it: status, and what the evaluators remember.
CREATE TABLE device_state (
    tenant_id    text NOT NULL,
    device_id    text NOT NULL,
    status       text NOT NULL CHECK (status IN ('ONLINE', 'STALE', 'UNKNOWN', 'REVOKED')),
    status_since timestamptz NOT NULL,
    status_until timestamptz,
    last_seen_at timestamptz,
    last_ts      timestamptz,
    last_seq     bigint,
    source       text NOT NULL DEFAULT '',
    memory       jsonb NOT NULL DEFAULT '{}',
    wake         jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, device_id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES devices ON DELETE CASCADE
) WITH (fillfactor = 70);

-- key_hash: signed 64-bit hash of type, seq and metrics. (tenant, device, ts, key_hash) is a reading's identity.
CREATE TABLE telemetry (
    tenant_id   text NOT NULL,
    device_id   text NOT NULL,
    ts          timestamptz NOT NULL,
    key_hash    bigint NOT NULL,
    received_at timestamptz NOT NULL,
    msg_type    text NOT NULL,
    site_id     text NOT NULL,
    seq         bigint,
    metrics     jsonb NOT NULL,
    PRIMARY KEY (tenant_id, device_id, ts, key_hash)
) PARTITION BY RANGE (ts);

CREATE TABLE alerts (
    tenant_id       text NOT NULL,
    alert_id        uuid NOT NULL,
    device_id       text NOT NULL,
    site_id         text NOT NULL,
    alert_type      text NOT NULL,
    fingerprint     text NOT NULL,
    status          text NOT NULL CHECK (status IN ('OPEN', 'ACKNOWLEDGED', 'CLOSED')),
    severity        smallint NOT NULL CHECK (severity BETWEEN 1 AND 5),
    confidence      real NOT NULL,
    summary         text NOT NULL,
    details         jsonb NOT NULL DEFAULT '{}',
    opened_at       timestamptz NOT NULL,
    acknowledged_at timestamptz,
    closed_at       timestamptz,
    PRIMARY KEY (tenant_id, alert_id),
    FOREIGN KEY (tenant_id, device_id) REFERENCES devices ON DELETE CASCADE
);
CREATE UNIQUE INDEX alerts_one_open ON alerts (tenant_id, fingerprint) WHERE status <> 'CLOSED';
CREATE INDEX alerts_newest ON alerts (tenant_id, opened_at DESC, alert_id);
CREATE INDEX alerts_of_device ON alerts (tenant_id, device_id, opened_at DESC);

-- One row for each step of an alert, with what every route decided about it (an array of
-- {route_id, matched, failed}): why somebody was, or was not, told.
CREATE TABLE alert_changes (
    tenant_id  text NOT NULL,
    alert_id   uuid NOT NULL,
    event      text NOT NULL CHECK (event IN ('OPEN', 'ACKNOWLEDGED', 'CLOSED')),
    changed_at timestamptz NOT NULL,
    decisions  jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (tenant_id, alert_id, event),
    FOREIGN KEY (tenant_id, alert_id) REFERENCES alerts ON DELETE CASCADE
);

-- config: what may be shown; secrets: the encrypted JSON of what may not.
CREATE TABLE integrations (
    tenant_id       text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    integration_id  uuid NOT NULL,
    type            text NOT NULL,
    name            text NOT NULL,
    enabled         boolean NOT NULL DEFAULT true,
    disabled_reason text,
    config          jsonb NOT NULL,
    secrets         bytea,
    has_secrets     boolean GENERATED ALWAYS AS (secrets IS NOT NULL) STORED,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, integration_id)
);

CREATE TABLE integration_routes (
    tenant_id       text NOT NULL,
    route_id        uuid NOT NULL,
    integration_id  uuid NOT NULL,
    name            text NOT NULL DEFAULT '',
    alert_types     text[] NOT NULL DEFAULT '{}',
    severities      smallint[] NOT NULL DEFAULT '{}',
    min_severity    smallint CHECK (min_severity BETWEEN 1 AND 5),
    site_ids        text[] NOT NULL DEFAULT '{}',
    device_prefixes text[] NOT NULL DEFAULT '{}',
    deliver_on      text[] NOT NULL DEFAULT '{OPEN}',
    priority        integer NOT NULL DEFAULT 100,
    enabled         boolean NOT NULL DEFAULT true,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, route_id),
    FOREIGN KEY (tenant_id, integration_id) REFERENCES integrations ON DELETE CASCADE
);

-- The outbox. cause: 'alert' for the one primary delivery of an (alert change, route); every other names its own.
CREATE TABLE deliveries (
    tenant_id      text NOT NULL,
    delivery_id    uuid NOT NULL,
    integration_id uuid NOT NULL,
    alert_id       uuid,
    route_id       uuid,
    event          text NOT NULL,
    cause          text NOT NULL,
    status         text NOT NULL DEFAULT 'PENDING'
                   CHECK (status IN ('PENDING', 'SENDING', 'DELIVERED', 'RETRYING', 'DEAD', 'CANCELLED')),
    notification   jsonb NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    due_at         timestamptz NOT NULL,
    attempts       integer NOT NULL DEFAULT 0,
    first_attempt_at timestamptz,
    leased_by      text,
    lease_until    timestamptz,
    finished_at    timestamptz,
    last_error     text,
    PRIMARY KEY (tenant_id, delivery_id),
    FOREIGN KEY (tenant_id, integration_id) REFERENCES integrations ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, alert_id) REFERENCES alerts ON DELETE CASCADE
);
CREATE UNIQUE INDEX deliveries_one_primary ON deliveries (tenant_id, alert_id, event, route_id) WHERE cause = 'alert';
CREATE INDEX deliveries_due ON deliveries (due_at) WHERE status IN ('PENDING', 'RETRYING');
-- Whose turn is it: the claim walks from one integration that has something waiting to the next.
CREATE INDEX deliveries_waiting ON deliveries (tenant_id, integration_id, due_at) WHERE status IN ('PENDING', 'RETRYING');
CREATE INDEX deliveries_leased ON deliveries (lease_until) WHERE status = 'SENDING';
CREATE INDEX deliveries_newest ON deliveries (tenant_id, created_at DESC, delivery_id);
CREATE INDEX deliveries_of_alert ON deliveries (tenant_id, alert_id, integration_id);

CREATE TABLE delivery_attempts (
    tenant_id   text NOT NULL,
    delivery_id uuid NOT NULL,
    attempt     integer NOT NULL,
    started_at  timestamptz NOT NULL,
    duration_ms integer NOT NULL,
    outcome     text NOT NULL CHECK (outcome IN ('DELIVERED', 'TEMPORARY', 'PERMANENT')),
    detail      text NOT NULL DEFAULT '',
    receipt     text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, delivery_id, attempt),
    FOREIGN KEY (tenant_id, delivery_id) REFERENCES deliveries ON DELETE CASCADE
);

-- shard: the lane that counts, so that lanes never wait for each other's row. tenant_id is '' for strangers.
CREATE TABLE quarantine_counts (
    tenant_id text NOT NULL,
    minute    timestamptz NOT NULL,
    reason    text NOT NULL,
    shard     smallint NOT NULL,
    rejected  bigint NOT NULL,
    PRIMARY KEY (tenant_id, minute, reason, shard)
);

-- A row belongs to whoever holds the advisory lock on the partition. owner: the lane that had it last, so that one
-- that lost its connection knows whether another judged its devices meanwhile. batch_id: the last batch whose refusals
-- were counted (at a lane's lowest partition), so that a batch tried again is not counted again.
CREATE TABLE lane_partitions (
    partition smallint PRIMARY KEY,
    owner     uuid NOT NULL,
    batch_id  uuid
);

CREATE TABLE quarantine (
    tenant_id   text NOT NULL,
    reject_id   uuid NOT NULL,
    received_at timestamptz NOT NULL,
    reason      text NOT NULL,
    detail      text NOT NULL DEFAULT '',
    device_id   text NOT NULL DEFAULT '',
    topic       text NOT NULL DEFAULT '',
    payload     jsonb,
    raw         bytea,
    PRIMARY KEY (tenant_id, reject_id)
);
CREATE INDEX quarantine_newest ON quarantine (received_at DESC);

CREATE TABLE settings (
    name       text PRIMARY KEY,
    value      jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    updated_by text NOT NULL DEFAULT ''
);

-- Append-only: no role holds UPDATE or DELETE on it. tenant_id is '' for what concerns no one tenant.
CREATE TABLE audit_log (
    tenant_id  text NOT NULL DEFAULT '',
    audit_id   uuid NOT NULL DEFAULT gen_random_uuid(),
    at         timestamptz NOT NULL DEFAULT now(),
    actor      text NOT NULL,
    action     text NOT NULL,
    resource   text NOT NULL DEFAULT '',
    address    text NOT NULL DEFAULT '',
    request_id text NOT NULL DEFAULT '',
    details    jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, audit_id)
);
CREATE INDEX audit_newest ON audit_log (at DESC);

-- Days of telemetry. The pipeline may call this, and nothing else that changes the schema.
CREATE FUNCTION ensure_telemetry_day(day date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text := 'telemetry_' || to_char(day, 'YYYYMMDD');
BEGIN
    -- A query, not to_regclass: that may still look at the catalogue as it was before we waited for the lock.
    IF EXISTS (SELECT FROM pg_class WHERE relname = part AND relnamespace = 'public'::regnamespace) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_telemetry_day'));
    -- A query, not to_regclass: that may still look at the catalogue as it was before we waited for the lock.
    IF EXISTS (SELECT FROM pg_class WHERE relname = part AND relnamespace = 'public'::regnamespace) THEN
        RETURN;
    END IF;
    -- Made beside its parent and then attached, because CREATE … PARTITION OF would wait for every lane's insert.
    EXECUTE format('CREATE TABLE public.%I (LIKE public.telemetry INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part);
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', part);
    EXECUTE format('ALTER TABLE public.%I SET (autovacuum_vacuum_insert_scale_factor = 0.5)', part);
    EXECUTE format('ALTER TABLE public.telemetry ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                   part, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
END $$;
-- Returns how many days it dropped. Waits 3 s for the lanes at most, rather than have them wait behind it.
CREATE FUNCTION drop_telemetry_before(day date) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
DECLARE
    part record;
    dropped integer := 0;
BEGIN
    FOR part IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'public.telemetry'::regclass
                  AND c.relname < 'telemetry_' || to_char(day, 'YYYYMMDD') LOOP
        EXECUTE format('DROP TABLE public.%I', part.relname);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
REVOKE ALL ON FUNCTION ensure_telemetry_day(date), drop_telemetry_before(date) FROM PUBLIC;

-- Whoever changes a device, a tenant, a route, a setting or an alert, everybody who caches it is told at commit.
CREATE FUNCTION notify_device() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('pulse_devices', COALESCE(NEW.tenant_id, OLD.tenant_id) || '/' || COALESCE(NEW.device_id, OLD.device_id));
    RETURN NULL;
END $$;
CREATE TRIGGER devices_notify AFTER INSERT OR UPDATE OR DELETE ON devices FOR EACH ROW EXECUTE FUNCTION notify_device();

CREATE FUNCTION notify_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('pulse_devices', COALESCE(NEW.tenant_id, OLD.tenant_id) || '/');
    RETURN NULL;
END $$;
CREATE TRIGGER tenants_notify AFTER UPDATE OR DELETE ON tenants FOR EACH ROW EXECUTE FUNCTION notify_tenant();

CREATE FUNCTION notify_topic() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(TG_ARGV[0], '');
    RETURN NULL;
END $$;
CREATE TRIGGER routes_notify AFTER INSERT OR UPDATE OR DELETE ON integration_routes
    FOR EACH STATEMENT EXECUTE FUNCTION notify_topic('pulse_routes');
CREATE TRIGGER integrations_notify AFTER INSERT OR UPDATE OR DELETE ON integrations
    FOR EACH STATEMENT EXECUTE FUNCTION notify_topic('pulse_routes');
CREATE FUNCTION notify_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM made) THEN
        PERFORM pg_notify('pulse_deliveries', '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER deliveries_notify AFTER INSERT ON deliveries REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION notify_deliveries();
CREATE TRIGGER settings_notify AFTER INSERT OR UPDATE OR DELETE ON settings
    FOR EACH STATEMENT EXECUTE FUNCTION notify_topic('pulse_settings');

-- Row-level security: one policy a role and table, so that each can be read (and weakened by a test) by itself.
-- After a transaction that set it, app.tenant_id is '' and not NULL: both mean no tenant, and no rows.
DO $$
DECLARE
    tbl text;
    tenant text := 'nullif(current_setting(''app.tenant_id'', true), '''')';
BEGIN
    FOREACH tbl IN ARRAY ARRAY['tenants', 'devices', 'activation_codes', 'device_state', 'telemetry', 'alerts',
        'alert_changes', 'integrations', 'integration_routes', 'deliveries', 'delivery_attempts',
        'quarantine_counts', 'quarantine', 'audit_log'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', tbl);
        EXECUTE format('CREATE POLICY web ON %I TO pulse_web USING (tenant_id = %s) WITH CHECK (tenant_id = %s)',
                       tbl, tenant, tenant);
        EXECUTE format('CREATE POLICY operator ON %I FOR SELECT TO pulse_operator USING (true)', tbl);
    END LOOP;
    CREATE POLICY operator_append ON audit_log FOR INSERT TO pulse_operator WITH CHECK (true);
    CREATE POLICY admin_append ON audit_log FOR INSERT TO pulse_admin WITH CHECK (true);
    FOREACH tbl IN ARRAY ARRAY['tenants', 'devices', 'activation_codes', 'device_state', 'integrations',
        'integration_routes'] LOOP
        EXECUTE format('CREATE POLICY admin ON %I TO pulse_admin USING (true) WITH CHECK (true)', tbl);
    END LOOP;
    FOREACH tbl IN ARRAY ARRAY['tenants', 'devices', 'device_state', 'telemetry', 'alerts', 'alert_changes',
        'integrations', 'integration_routes', 'deliveries', 'quarantine_counts', 'quarantine'] LOOP
        EXECUTE format('CREATE POLICY pipeline ON %I TO pulse_pipeline USING (true) WITH CHECK (true)', tbl);
    END LOOP;
    FOREACH tbl IN ARRAY ARRAY['alerts', 'integrations', 'deliveries', 'delivery_attempts'] LOOP
        EXECUTE format('CREATE POLICY deliver ON %I TO pulse_deliver USING (true) WITH CHECK (true)', tbl);
    END LOOP;
    FOREACH tbl IN ARRAY ARRAY['tenants', 'devices', 'activation_codes'] LOOP
        EXECUTE format('CREATE POLICY auth ON %I TO pulse_auth USING (true) WITH CHECK (true)', tbl);
    END LOOP;
END $$;

-- Who may do what. Hashes and stored secrets are readable only by those who check or use them; no role has rights on a
-- day of telemetry, nor on any column that it has no business to change.
GRANT SELECT ON tenants, device_state, telemetry, alerts, alert_changes, deliveries, delivery_attempts,
    quarantine_counts, quarantine, audit_log TO pulse_web;
GRANT SELECT (tenant_id, device_id, site_id, name, labels, activated, revoked_at, stale_after_s, created_at, updated_at)
    ON devices TO pulse_web;
GRANT SELECT, INSERT, UPDATE, DELETE ON integrations, integration_routes TO pulse_web;

GRANT SELECT ON tenants, device_state, telemetry, alerts, alert_changes, integration_routes, deliveries,
    delivery_attempts, quarantine_counts, quarantine, settings, audit_log TO pulse_operator;
GRANT SELECT (tenant_id, device_id, site_id, name, labels, activated, revoked_at, stale_after_s, created_at, updated_at)
    ON devices TO pulse_operator;
GRANT SELECT (tenant_id, device_id, created_at, expires_at, used_at) ON activation_codes TO pulse_operator;
GRANT SELECT (tenant_id, integration_id, type, name, enabled, disabled_reason, config, has_secrets, created_at, updated_at)
    ON integrations TO pulse_operator;
GRANT INSERT ON audit_log TO pulse_operator;

GRANT SELECT, INSERT, UPDATE, DELETE ON tenants, devices, activation_codes, integrations, integration_routes, settings
    TO pulse_admin;
GRANT SELECT ON device_state TO pulse_admin;
GRANT INSERT ON audit_log TO pulse_admin;

GRANT SELECT ON tenants, devices, activation_codes TO pulse_auth;
GRANT UPDATE (token_hash, previous_token_hash, previous_until, updated_at) ON devices TO pulse_auth;
GRANT UPDATE (used_at) ON activation_codes TO pulse_auth;

GRANT SELECT ON tenants, devices, integration_routes, settings TO pulse_pipeline;
GRANT SELECT (tenant_id, integration_id, enabled) ON integrations TO pulse_pipeline;
GRANT SELECT, INSERT, UPDATE, DELETE ON device_state TO pulse_pipeline;
GRANT SELECT, INSERT ON telemetry, alert_changes, deliveries, quarantine TO pulse_pipeline;
GRANT SELECT, INSERT, UPDATE ON alerts, quarantine_counts, lane_partitions TO pulse_pipeline;
GRANT DELETE ON quarantine, quarantine_counts TO pulse_pipeline;
GRANT EXECUTE ON FUNCTION ensure_telemetry_day(date), drop_telemetry_before(date) TO pulse_pipeline;

GRANT SELECT ON alerts, integrations, deliveries, settings TO pulse_deliver;
GRANT UPDATE (enabled, disabled_reason, updated_at) ON integrations TO pulse_deliver;
GRANT UPDATE (status, due_at, attempts, first_attempt_at, leased_by, lease_until, finished_at, last_error)
    ON deliveries TO pulse_deliver;
GRANT SELECT, INSERT ON delivery_attempts TO pulse_deliver;

-- Not even by mistake of a later migration.
REVOKE UPDATE, DELETE, TRUNCATE ON audit_log FROM pulse_owner;
