DROP TRIGGER tenants_revision ON tenants;
CREATE TRIGGER tenants_revision BEFORE UPDATE ON tenants FOR EACH ROW
    WHEN ((OLD.name, OLD.stale_after_s, OLD.status) IS DISTINCT FROM (NEW.name, NEW.stale_after_s, NEW.status))
    EXECUTE FUNCTION count_revision();

REVOKE UPDATE (stale_after_s, stale_on_disconnect) ON tenants FROM pulse_web;
