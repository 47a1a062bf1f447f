-- Alerts of the audit log that the webhook has not been told of, each with the time of the next
-- attempt in milliseconds. Whoever claims one moves that time ahead of the attempt.
CREATE TABLE outbox (
    id     BYTEA  NOT NULL PRIMARY KEY,
    due_ms BIGINT NOT NULL,
    tries  BIGINT NOT NULL
);
CREATE INDEX outbox_due ON outbox (due_ms);
