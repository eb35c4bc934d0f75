DROP TABLE telemetry_export_pieces, telemetry_exports;
