-- Hours of a device whose roll-up is not there, or no longer right. Whoever stores a reading of an hour that has no mark
-- marks it in the same transaction; a roll-up counts only where there is no mark.
CREATE TABLE telemetry_marks (
    tenant_id text NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    hour      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, device_id, hour)
);
CREATE INDEX telemetry_marks_oldest ON telemetry_marks (hour);

-- The readings of a device in one hour (UTC), as numbers. Hours of few readings have no row: those are read themselves.
-- metrics: the names that have numbers; numbers: six doubles for each of them, as telemetry/rolled.py packs them;
-- minutes: the same for each minute, where readings are many; others: the names that have other values.
CREATE TABLE telemetry_hours (
    tenant_id text NOT NULL,
    device_id text COLLATE "C" NOT NULL,
    hour      timestamptz NOT NULL,
    readings  integer NOT NULL,
    metrics   text[] NOT NULL,
    numbers   bytea NOT NULL,
    minutes   bytea,
    others    text[],
    PRIMARY KEY (tenant_id, device_id, hour)
) PARTITION BY RANGE (hour);

-- As ensure_telemetry_day.
CREATE FUNCTION ensure_telemetry_hours(day date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text := 'telemetry_hours_' || to_char(day, 'YYYYMMDD');
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE relname = part AND relnamespace = 'public'::regnamespace) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_telemetry_hours'));
    IF EXISTS (SELECT FROM pg_class WHERE relname = part AND relnamespace = 'public'::regnamespace) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.telemetry_hours INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
                   part);
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', part);
    EXECUTE format('ALTER TABLE public.telemetry_hours ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                   part, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
END $$;
REVOKE ALL ON FUNCTION ensure_telemetry_hours(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_telemetry_hours(date) TO pulse_pipeline;

-- A day goes with its roll-ups. Whoever makes those reads the day, so that none can be made once it has gone.
CREATE OR REPLACE FUNCTION drop_telemetry_day(day date, readings bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
BEGIN
    EXECUTE format('DROP TABLE public.%I', 'telemetry_' || to_char(day, 'YYYYMMDD'));
    EXECUTE format('DROP TABLE IF EXISTS public.%I', 'telemetry_hours_' || to_char(day, 'YYYYMMDD'));
    INSERT INTO public.readings_expired AS e (day, expired) VALUES (day, readings)
        ON CONFLICT ON CONSTRAINT readings_expired_pkey
        DO UPDATE SET expired = e.expired + excluded.expired, expired_at = excluded.expired_at;
END $$;

-- What is stored already, but hours of so few readings that they are not rolled up. Row-level security hides it even from
-- the owner, who we are here.
ALTER TABLE telemetry NO FORCE ROW LEVEL SECURITY;
INSERT INTO telemetry_marks (tenant_id, device_id, hour)
    SELECT tenant_id, device_id, date_bin('1 hour', ts, timestamptz 'epoch') FROM telemetry
    GROUP BY 1, 2, 3 HAVING count(*) > 2;
ALTER TABLE telemetry FORCE ROW LEVEL SECURITY;

DO $$
DECLARE
    tbl text;
    tenant text := 'nullif(current_setting(''app.tenant_id'', true), '''')';
BEGIN
    FOREACH tbl IN ARRAY ARRAY['telemetry_marks', 'telemetry_hours'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', tbl);
        EXECUTE format('CREATE POLICY web ON %I TO pulse_web USING (tenant_id = %s) WITH CHECK (tenant_id = %s)',
                       tbl, tenant, tenant);
        EXECUTE format('CREATE POLICY operator ON %I FOR SELECT TO pulse_operator USING (true)', tbl);
        EXECUTE format('CREATE POLICY pipeline ON %I TO pulse_pipeline USING (true) WITH CHECK (true)', tbl);
        EXECUTE format('CREATE POLICY admin_remove ON %I TO pulse_admin USING (tenant_id <> '''' AND (NOT EXISTS ('
                       'SELECT FROM tenants t WHERE t.tenant_id = %I.tenant_id AND t.status = ''ACTIVE'')'
                       ' OR NOT EXISTS (SELECT FROM devices d WHERE d.tenant_id = %I.tenant_id'
                       ' AND d.device_id = %I.device_id AND d.revoked_at IS NULL)))', tbl, tbl, tbl, tbl);
        EXECUTE format('GRANT SELECT ON %I TO pulse_web, pulse_operator', tbl);
        EXECUTE format('GRANT DELETE, SELECT (tenant_id, device_id, hour) ON %I TO pulse_admin', tbl);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON telemetry_marks TO pulse_pipeline;
GRANT SELECT, INSERT, DELETE ON telemetry_hours TO pulse_pipeline;
