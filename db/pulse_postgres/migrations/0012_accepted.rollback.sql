DROP TABLE accepted_counts;
