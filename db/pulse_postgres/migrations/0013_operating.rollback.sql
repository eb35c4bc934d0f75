DROP INDEX attempts_failed;
ALTER TABLE quarantine DROP COLUMN source;
