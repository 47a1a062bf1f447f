-- Quotas of LLM tokens: what is escrowed at the mint, what ledgers report, and what is settled.

-- What has become of a client's quota in one window, which begins at `starts` (0 for a lifetime).
-- `quota` is as the last mint had it, `alerted` the highest percentage an alert was raised for.
CREATE TABLE quotas (
    client   TEXT    NOT NULL,
    period   TEXT    NOT NULL CHECK (period IN ('hour', 'day', 'month', 'lifetime')),
    starts   INTEGER NOT NULL,
    tenant   TEXT    NOT NULL,
    quota    INTEGER NOT NULL,
    alerted  INTEGER NOT NULL,
    granted  INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    spent    INTEGER NOT NULL,
    refunded INTEGER NOT NULL,
    overrun  INTEGER NOT NULL,
    carried  INTEGER NOT NULL,
    PRIMARY KEY (client, period, starts)
) STRICT, WITHOUT ROWID;
-- The list is newest first, and may be asked for one tenant's.
CREATE INDEX quotas_newest ON quotas (starts, client, period);
CREATE INDEX quotas_of_tenant ON quotas (tenant, starts, client, period);

-- The escrow of one token, until it is settled and after. `denied_epoch` and `denied_seq`: the batch
-- of the deny list that ends the token.
CREATE TABLE escrows (
    jti          BLOB    PRIMARY KEY,
    client       TEXT    NOT NULL,
    period       TEXT    NOT NULL,
    starts       INTEGER NOT NULL,
    aud          TEXT    NOT NULL,
    exp          INTEGER NOT NULL,
    tokens       INTEGER NOT NULL,
    unreported   TEXT    NOT NULL CHECK (unreported IN ('spent', 'released')),
    denied_epoch TEXT,
    denied_seq   INTEGER,
    spent        INTEGER,
    settled      INTEGER,
    overrun      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- What is out for an audience, in the order in which it is settled.
CREATE INDEX escrows_out ON escrows (aud, exp) WHERE settled IS NULL;
CREATE INDEX escrows_denied ON escrows (aud, denied_epoch, denied_seq)
    WHERE settled IS NULL AND denied_seq IS NOT NULL;

-- Who counts what tokens use, and up to when all that it counted is here.
CREATE TABLE ledgers (
    client         TEXT    NOT NULL,
    instance       TEXT    NOT NULL,
    audience       TEXT    NOT NULL,
    registered     INTEGER NOT NULL,
    retired        INTEGER,
    complete_until INTEGER NOT NULL,
    PRIMARY KEY (client, instance)
) STRICT, WITHOUT ROWID;
CREATE INDEX ledgers_of_audience ON ledgers (audience) WHERE retired IS NULL;

-- What one ledger has counted for one token in all; `by_model` is JSON.
CREATE TABLE usage (
    jti      BLOB    NOT NULL,
    client   TEXT    NOT NULL,
    instance TEXT    NOT NULL,
    tokens   INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    by_model TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (jti, client, instance)
) STRICT, WITHOUT ROWID;
