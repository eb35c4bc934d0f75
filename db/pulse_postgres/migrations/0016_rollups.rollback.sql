DROP TABLE telemetry_hours, telemetry_marks;
DROP FUNCTION ensure_telemetry_hours(date);
CREATE OR REPLACE FUNCTION drop_telemetry_day(day date, readings bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
BEGIN
    EXECUTE format('DROP TABLE public.%I', 'telemetry_' || to_char(day, 'YYYYMMDD'));
    INSERT INTO public.readings_expired AS e (day, expired) VALUES (day, readings)
        ON CONFLICT ON CONSTRAINT readings_expired_pkey
        DO UPDATE SET expired = e.expired + excluded.expired, expired_at = excluded.expired_at;
END $$;
