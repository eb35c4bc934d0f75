ALTER TABLE device_commands DROP COLUMN number;
DROP TABLE device_sessions;
