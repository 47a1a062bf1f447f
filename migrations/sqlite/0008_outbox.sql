-- Alerts of the audit log that the webhook has not been told of, each with the time of the next
-- attempt in milliseconds. Whoever claims one moves that time ahead of the attempt.
CREATE TABLE outbox (
    id     BLOB    NOT NULL PRIMARY KEY,
    due_ms INTEGER NOT NULL,
    tries  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_due ON outbox (due_ms);
