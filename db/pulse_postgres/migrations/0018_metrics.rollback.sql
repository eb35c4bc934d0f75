DROP TABLE metric_catalogue;
