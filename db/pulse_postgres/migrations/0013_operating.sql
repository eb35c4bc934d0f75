-- By which way in a refused message came; '' where nobody noted it yet.
ALTER TABLE quarantine ADD COLUMN source text NOT NULL DEFAULT '';
-- What failed last, across tenants: operators see it beside the plugin that failed.
CREATE INDEX attempts_failed ON delivery_attempts (started_at DESC) WHERE outcome <> 'DELIVERED';
