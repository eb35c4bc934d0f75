DROP INDEX alert_changes_newest;
