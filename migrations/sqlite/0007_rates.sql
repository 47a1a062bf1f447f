-- What each replica granted of clients' and tenants' rates, an exchange a second, for a minute. The
-- key of an exchange is a UUIDv7 of its time; the cost is the time in which the grants are earned.
CREATE TABLE rate_grants (
    exchange BLOB    NOT NULL,
    key      TEXT    NOT NULL,
    cost_us  INTEGER NOT NULL,
    PRIMARY KEY (exchange, key)
) STRICT, WITHOUT ROWID;
