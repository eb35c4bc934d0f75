-- What operators see of the way in, over all processes: how many messages came in each minute, and how long the slowest
-- took from its arrival to its commit. Of all tenants together: by tenant it would be a row a tenant, minute and lane.

-- shard: the lane that counts, so that lanes never wait for each other's row. Kept for two days.
CREATE TABLE intake_minutes (
    minute     timestamptz NOT NULL,
    shard      smallint NOT NULL,
    accepted   bigint NOT NULL,
    rejected   bigint NOT NULL,
    slowest_us bigint NOT NULL,
    PRIMARY KEY (minute, shard)
) WITH (fillfactor = 50);

GRANT SELECT, INSERT, UPDATE, DELETE ON intake_minutes TO pulse_pipeline;
GRANT SELECT ON intake_minutes TO pulse_operator;
