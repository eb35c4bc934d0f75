-- The newest steps of a tenant's alerts: what a route would have said to them is asked while it is being written.
CREATE INDEX alert_changes_newest ON alert_changes (tenant_id, changed_at DESC);
