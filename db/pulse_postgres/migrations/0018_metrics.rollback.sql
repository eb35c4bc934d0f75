DROP INDEX telemetry_events;
DROP TABLE metric_catalogue;
