-- Since when a client's secret is refused because it is past due; NULL where it is not.
ALTER TABLE clients ADD COLUMN refused INTEGER;
-- The newest version in Vault that is on record: any other one there has been written since.
ALTER TABLE clients ADD COLUMN version TEXT;

-- What a client is warned of: from the event on that said so, until it is so no longer.
CREATE TABLE client_warnings (
    client TEXT NOT NULL,
    kind   TEXT NOT NULL CHECK (kind IN ('rotate-soon', 'past-due', 'refused', 'never-used', 'unused', 'shared')),
    at     INTEGER NOT NULL,
    PRIMARY KEY (client, kind)
) STRICT, WITHOUT ROWID;

-- From where a client minted lately; `at` is not moved more often than once an hour.
CREATE TABLE client_addresses (
    client  TEXT NOT NULL,
    address TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (client, address)
) STRICT, WITHOUT ROWID;
-- Pruned by age.
CREATE INDEX client_addresses_at ON client_addresses (at);
