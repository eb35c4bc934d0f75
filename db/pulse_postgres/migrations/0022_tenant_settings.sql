-- A tenant's admins choose themselves when its devices are STALE. Of their own tenant: the policy of pulse_web sees to that.
GRANT UPDATE (stale_after_s, stale_on_disconnect) ON tenants TO pulse_web;

-- Whether a disconnect makes a device STALE is edited as the rest is, so it counts as an edit.
DROP TRIGGER tenants_revision ON tenants;
CREATE TRIGGER tenants_revision BEFORE UPDATE ON tenants FOR EACH ROW
    WHEN ((OLD.name, OLD.stale_after_s, OLD.stale_on_disconnect, OLD.status)
        IS DISTINCT FROM (NEW.name, NEW.stale_after_s, NEW.stale_on_disconnect, NEW.status))
    EXECUTE FUNCTION count_revision();
