DROP TABLE intake_minutes;
