-- What verifiers say of themselves, and who verifies without saying anything.

CREATE TABLE verifiers (
    client        TEXT    NOT NULL,
    verifier      TEXT    NOT NULL,
    epoch         TEXT    NOT NULL,
    seq           INTEGER NOT NULL,
    moved_ms      INTEGER NOT NULL,
    acked_ms      INTEGER NOT NULL,
    as_of         INTEGER NOT NULL,
    max_staleness INTEGER NOT NULL,
    max_offline   INTEGER NOT NULL,
    policy        TEXT    NOT NULL CHECK (policy IN ('deny', 'deny-and-alert', 'allow-for')),
    allow_for     INTEGER NOT NULL,
    PRIMARY KEY (client, verifier)
) STRICT, WITHOUT ROWID;

-- One row each time that an acknowledgement moves a verifier further: from the first at or beyond
-- its batch on, a verifier enforces a revocation.
CREATE TABLE acks (
    client   TEXT    NOT NULL,
    verifier TEXT    NOT NULL,
    epoch    TEXT    NOT NULL,
    seq      INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL,
    PRIMARY KEY (client, verifier, epoch, seq)
) STRICT, WITHOUT ROWID;
-- Pruned by age.
CREATE INDEX acks_at ON acks (at_ms);

-- `keys`: somebody read the JWKS, whoever it was (`client` is empty); `feed`: a client read the feed.
CREATE TABLE sightings (
    kind   TEXT    NOT NULL CHECK (kind IN ('keys', 'feed')),
    client TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (kind, client)
) STRICT, WITHOUT ROWID;
