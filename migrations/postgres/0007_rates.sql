-- What each replica granted of clients' and tenants' rates, an exchange a second, for a minute. The
-- key of an exchange is a UUIDv7 of its time; the cost is the time in which the grants are earned.
CREATE TABLE rate_grants (
    exchange BYTEA            NOT NULL,
    key      TEXT COLLATE "C" NOT NULL,
    cost_us  BIGINT           NOT NULL,
    PRIMARY KEY (exchange, key)
);
