DROP TABLE device_commands;
DROP FUNCTION notify_command();
