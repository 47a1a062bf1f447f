-- What verifiers say of themselves, and who verifies without saying anything.

CREATE TABLE verifiers (
    client        TEXT COLLATE "C" NOT NULL,
    verifier      TEXT COLLATE "C" NOT NULL,
    epoch         TEXT COLLATE "C" NOT NULL,
    seq           BIGINT           NOT NULL,
    moved_ms      BIGINT           NOT NULL,
    acked_ms      BIGINT           NOT NULL,
    as_of         BIGINT           NOT NULL,
    max_staleness BIGINT           NOT NULL,
    max_offline   BIGINT           NOT NULL,
    policy        TEXT             NOT NULL CHECK (policy IN ('deny', 'deny-and-alert', 'allow-for')),
    allow_for     BIGINT           NOT NULL,
    PRIMARY KEY (client, verifier)
);

-- One row each time that an acknowledgement moves a verifier further: from the first at or beyond
-- its batch on, a verifier enforces a revocation.
CREATE TABLE acks (
    client   TEXT COLLATE "C" NOT NULL,
    verifier TEXT COLLATE "C" NOT NULL,
    epoch    TEXT COLLATE "C" NOT NULL,
    seq      BIGINT           NOT NULL,
    at_ms    BIGINT           NOT NULL,
    PRIMARY KEY (client, verifier, epoch, seq)
);
-- Pruned by age.
CREATE INDEX acks_at ON acks (at_ms);

-- `keys`: somebody read the JWKS, whoever it was (`client` is empty); `feed`: a client read the feed.
CREATE TABLE sightings (
    kind   TEXT             NOT NULL CHECK (kind IN ('keys', 'feed')),
    client TEXT COLLATE "C" NOT NULL,
    at     BIGINT           NOT NULL,
    PRIMARY KEY (kind, client)
);
