-- The ledger: fallback, replay and test deliveries, what each attempt met, breakers, counts to check against, and the
-- tokens of programs that read all this.

-- retry: this integration's own schedule (waits_s, every_s, give_up_s); none: the contract's.
-- deleted_at: it is gone for people, but what was sent through it stays in the ledger. Its configuration is emptied.
ALTER TABLE integrations
    ADD COLUMN retry jsonb,
    ADD COLUMN deleted_at timestamptz,
    ADD CHECK (deleted_at IS NULL OR (NOT enabled AND secrets IS NULL));

-- Used instead of the first one when that is dead-lettered, or its breaker has been open for fallback_after_s.
ALTER TABLE integration_routes
    ADD COLUMN fallback_integration_id uuid,
    ADD COLUMN fallback_after_s integer NOT NULL DEFAULT 600 CHECK (fallback_after_s BETWEEN 0 AND 86400),
    ADD CHECK (fallback_integration_id <> integration_id),
    ADD FOREIGN KEY (tenant_id, fallback_integration_id) REFERENCES integrations
        ON DELETE SET NULL (fallback_integration_id);

-- caused_by: the delivery that this one replays, or stands in for.
ALTER TABLE deliveries
    ADD COLUMN caused_by uuid,
    ADD FOREIGN KEY (tenant_id, caused_by) REFERENCES deliveries ON DELETE CASCADE,
    ADD CHECK (cause IN ('alert', 'test', 'fallback', 'replay', 'repeat', 'escalation')),
    ADD CHECK ((caused_by IS NOT NULL) = (cause IN ('fallback', 'replay')));
CREATE UNIQUE INDEX deliveries_one_fallback ON deliveries (tenant_id, caused_by) WHERE cause = 'fallback';
CREATE INDEX deliveries_caused ON deliveries (tenant_id, caused_by) WHERE caused_by IS NOT NULL;
CREATE INDEX deliveries_followed ON deliveries (tenant_id, alert_id, route_id) WHERE cause = 'fallback';
CREATE INDEX deliveries_tests ON deliveries (due_at) WHERE cause = 'test' AND status = 'PENDING';
CREATE INDEX deliveries_by_status ON deliveries (tenant_id, status, created_at DESC, delivery_id);
CREATE INDEX deliveries_by_integration ON deliveries (tenant_id, integration_id, created_at DESC, delivery_id);

-- address and tls: whom the attempt really talked to. next_at: when another was to follow; none: it was the last.
ALTER TABLE delivery_attempts
    ADD COLUMN address text NOT NULL DEFAULT '',
    ADD COLUMN tls text NOT NULL DEFAULT '',
    ADD COLUMN next_at timestamptz;

-- A row for each integration whose endpoint is not called at present, but for a probe now and then.
CREATE TABLE breakers (
    tenant_id      text NOT NULL,
    integration_id uuid NOT NULL,
    opened_at      timestamptz NOT NULL,
    probe_at       timestamptz NOT NULL,
    failures       integer NOT NULL,
    last_error     text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, integration_id),
    FOREIGN KEY (tenant_id, integration_id) REFERENCES integrations ON DELETE CASCADE
);

-- What the ledger is checked against. Days are those of ts, in UTC: a day of telemetry is one partition.
-- shard: the lane that counts, so that lanes never wait for each other's row; -1: what was there before. A batch that is
-- tried again is known by lane_partitions.batch_id, as for quarantine_counts.
CREATE TABLE readings_accepted (
    day      date NOT NULL,
    shard    smallint NOT NULL,
    accepted bigint NOT NULL,
    PRIMARY KEY (day, shard)
) WITH (fillfactor = 50);
CREATE TABLE readings_expired (
    day        date PRIMARY KEY,
    expired    bigint NOT NULL,
    expired_at timestamptz NOT NULL DEFAULT now()
);
-- What was stored before anybody counted. Row-level security hides it even from the owner, who we are here.
ALTER TABLE telemetry NO FORCE ROW LEVEL SECURITY;
INSERT INTO readings_accepted (day, shard, accepted)
    SELECT (ts AT TIME ZONE 'UTC')::date, -1, count(*) FROM telemetry GROUP BY 1;
ALTER TABLE telemetry FORCE ROW LEVEL SECURITY;

-- Integrations used to be deleted with their deliveries. What was decided then stays as it was; that its delivery is
-- gone for this reason is noted, so that from now on a decision without one is an error.
ALTER TABLE alert_changes NO FORCE ROW LEVEL SECURITY;
ALTER TABLE deliveries NO FORCE ROW LEVEL SECURITY;
UPDATE alert_changes c SET decisions = n.decisions
FROM (SELECT a.tenant_id, a.alert_id, a.event, bool_or(gone) AS any_gone,
             jsonb_agg(CASE WHEN gone THEN d || '{"forgotten": true}' ELSE d END ORDER BY place) AS decisions
      FROM alert_changes a, jsonb_array_elements(a.decisions) WITH ORDINALITY AS x (d, place),
           LATERAL (SELECT (d ->> 'matched')::boolean AND NOT EXISTS (
               SELECT FROM deliveries p WHERE p.tenant_id = a.tenant_id AND p.alert_id = a.alert_id AND p.event = a.event
                   AND p.route_id = (d ->> 'route_id')::uuid AND p.cause = 'alert') AS gone) AS g
      GROUP BY 1, 2, 3) AS n
WHERE n.any_gone AND (c.tenant_id, c.alert_id, c.event) = (n.tenant_id, n.alert_id, n.event);
ALTER TABLE alert_changes FORCE ROW LEVEL SECURITY;
ALTER TABLE deliveries FORCE ROW LEVEL SECURITY;

-- Tokens of programs. tenant_id is '' for operators' tokens, so it refers to no tenant: who checks a token joins them. token_hash: SHA-256 of 256 random bits.
CREATE TABLE api_tokens (
    tenant_id    text NOT NULL DEFAULT '',
    token_id     uuid NOT NULL DEFAULT gen_random_uuid(),
    name         text NOT NULL,
    role         text NOT NULL CHECK (role IN ('customer_viewer', 'customer_admin', 'operator', 'operator_admin')),
    token_hash   bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text NOT NULL,
    expires_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    PRIMARY KEY (tenant_id, token_id),
    CHECK ((tenant_id = '') = (role IN ('operator', 'operator_admin')))
);

-- Retention, in steps. Whoever holds a day keeps others from writing to it, not from reading it: counting takes seconds,
-- and a lane that looks a reading up must not wait for that. The advisory lock keeps days from being dropped while the
-- ledger is checked; no lane ever waits for it.
CREATE FUNCTION hold_telemetry_day(day date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('drop_telemetry'));
    EXECUTE format('LOCK TABLE public.%I IN SHARE MODE', 'telemetry_' || to_char(day, 'YYYYMMDD'));
END $$;
-- Waits 3 s for the lanes at most, rather than have them wait behind it.
CREATE FUNCTION drop_telemetry_day(day date, readings bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
BEGIN
    EXECUTE format('DROP TABLE public.%I', 'telemetry_' || to_char(day, 'YYYYMMDD'));
    INSERT INTO public.readings_expired AS e (day, expired) VALUES (day, readings)
        ON CONFLICT ON CONSTRAINT readings_expired_pkey
        DO UPDATE SET expired = e.expired + excluded.expired, expired_at = excluded.expired_at;
END $$;
-- Returns how many days it dropped. Runs as its caller, because the owner sees no readings.
DROP FUNCTION drop_telemetry_before(date);
CREATE FUNCTION drop_telemetry_before(before date) RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old date;
    readings bigint;
    dropped integer := 0;
BEGIN
    FOR old IN SELECT to_date(right(c.relname, 8), 'YYYYMMDD') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
               WHERE i.inhparent = 'public.telemetry'::regclass
                 AND c.relname < 'telemetry_' || to_char(before, 'YYYYMMDD') LOOP
        PERFORM public.hold_telemetry_day(old);
        SELECT count(*) INTO readings FROM public.telemetry
            WHERE ts >= old::timestamp AT TIME ZONE 'UTC' AND ts < (old + 1)::timestamp AT TIME ZONE 'UTC';
        PERFORM public.drop_telemetry_day(old, readings);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
REVOKE ALL ON FUNCTION hold_telemetry_day(date), drop_telemetry_day(date, bigint), drop_telemetry_before(date)
    FROM PUBLIC;

DO $$
DECLARE
    tbl text;
    tenant text := 'nullif(current_setting(''app.tenant_id'', true), '''')';
BEGIN
    FOREACH tbl IN ARRAY ARRAY['breakers', 'api_tokens'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', tbl);
        EXECUTE format('CREATE POLICY web ON %I TO pulse_web USING (tenant_id = %s) WITH CHECK (tenant_id = %s)',
                       tbl, tenant, tenant);
        EXECUTE format('CREATE POLICY operator ON %I FOR SELECT TO pulse_operator USING (true)', tbl);
    END LOOP;
    CREATE POLICY deliver ON breakers TO pulse_deliver USING (true) WITH CHECK (true);
    CREATE POLICY deliver ON integration_routes FOR SELECT TO pulse_deliver USING (true);
    CREATE POLICY admin ON deliveries TO pulse_admin USING (true) WITH CHECK (true);
    CREATE POLICY admin ON api_tokens TO pulse_admin USING (true) WITH CHECK (true);
    CREATE POLICY auth ON api_tokens TO pulse_auth USING (true) WITH CHECK (true);
END $$;

GRANT SELECT ON breakers TO pulse_web, pulse_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON breakers TO pulse_deliver;
GRANT SELECT (tenant_id, token_id, name, role, created_at, created_by, expires_at, last_used_at, revoked_at)
    ON api_tokens TO pulse_web, pulse_operator;
GRANT SELECT, INSERT, UPDATE ON api_tokens TO pulse_admin;
GRANT SELECT ON api_tokens TO pulse_auth;
GRANT UPDATE (last_used_at) ON api_tokens TO pulse_auth;

-- A customer acknowledges alerts,
GRANT UPDATE (status, acknowledged_at) ON alerts TO pulse_web;
GRANT INSERT ON alert_changes TO pulse_web;
-- and tests, replays and cancels; whoever deletes an integration cancels what waits for it.
GRANT INSERT ON deliveries TO pulse_web;
GRANT UPDATE (status, due_at, finished_at, last_error) ON deliveries TO pulse_web;
GRANT SELECT (tenant_id, integration_id, status), UPDATE (status, finished_at, last_error) ON deliveries TO pulse_admin;
GRANT INSERT ON audit_log TO pulse_web;
-- Nobody deletes an integration: what was sent through it would go with it, out of the books.
REVOKE DELETE ON integrations FROM pulse_web, pulse_admin;
-- The engine makes fallback deliveries, by what the route says.
GRANT INSERT ON deliveries TO pulse_deliver;
GRANT SELECT ON integration_routes TO pulse_deliver;

GRANT SELECT, INSERT, UPDATE ON readings_accepted TO pulse_pipeline;
GRANT EXECUTE ON FUNCTION hold_telemetry_day(date), drop_telemetry_day(date, bigint), drop_telemetry_before(date)
    TO pulse_pipeline;
GRANT SELECT ON readings_accepted, readings_expired TO pulse_operator;
GRANT SELECT (deleted_at, retry) ON integrations TO pulse_operator;
