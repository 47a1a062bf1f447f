-- Quotas of LLM tokens: what is escrowed at the mint, what ledgers report, and what is settled.

-- What has become of a client's quota in one window, which begins at `starts` (0 for a lifetime).
-- `quota` is as the last mint had it, `alerted` the highest percentage an alert was raised for.
CREATE TABLE quotas (
    client   TEXT COLLATE "C" NOT NULL,
    period   TEXT COLLATE "C" NOT NULL CHECK (period IN ('hour', 'day', 'month', 'lifetime')),
    starts   BIGINT           NOT NULL,
    tenant   TEXT COLLATE "C" NOT NULL,
    quota    BIGINT           NOT NULL,
    alerted  BIGINT           NOT NULL,
    granted  BIGINT           NOT NULL,
    reserved BIGINT           NOT NULL,
    spent    BIGINT           NOT NULL,
    refunded BIGINT           NOT NULL,
    overrun  BIGINT           NOT NULL,
    carried  BIGINT           NOT NULL,
    PRIMARY KEY (client, period, starts)
);
-- The list is newest first, and may be asked for one tenant's.
CREATE INDEX quotas_newest ON quotas (starts, client, period);
CREATE INDEX quotas_of_tenant ON quotas (tenant, starts, client, period);

-- The escrow of one token, until it is settled and after. `denied_epoch` and `denied_seq`: the batch
-- of the deny list that ends the token.
CREATE TABLE escrows (
    jti          BYTEA            PRIMARY KEY,
    client       TEXT COLLATE "C" NOT NULL,
    period       TEXT COLLATE "C" NOT NULL,
    starts       BIGINT           NOT NULL,
    aud          TEXT COLLATE "C" NOT NULL,
    exp          BIGINT           NOT NULL,
    tokens       BIGINT           NOT NULL,
    unreported   TEXT             NOT NULL CHECK (unreported IN ('spent', 'released')),
    denied_epoch TEXT COLLATE "C",
    denied_seq   BIGINT,
    spent        BIGINT,
    settled      BIGINT,
    overrun      BIGINT           NOT NULL
);
-- What is out for an audience, in the order in which it is settled.
CREATE INDEX escrows_out ON escrows (aud, exp) WHERE settled IS NULL;
CREATE INDEX escrows_denied ON escrows (aud, denied_epoch, denied_seq)
    WHERE settled IS NULL AND denied_seq IS NOT NULL;

-- Who counts what tokens use, and up to when all that it counted is here.
CREATE TABLE ledgers (
    client         TEXT COLLATE "C" NOT NULL,
    instance       TEXT COLLATE "C" NOT NULL,
    audience       TEXT COLLATE "C" NOT NULL,
    registered     BIGINT           NOT NULL,
    retired        BIGINT,
    complete_until BIGINT           NOT NULL,
    PRIMARY KEY (client, instance)
);
CREATE INDEX ledgers_of_audience ON ledgers (audience) WHERE retired IS NULL;

-- What one ledger has counted for one token in all; `by_model` is JSON.
CREATE TABLE usage (
    jti      BYTEA            NOT NULL,
    client   TEXT COLLATE "C" NOT NULL,
    instance TEXT COLLATE "C" NOT NULL,
    tokens   BIGINT           NOT NULL,
    requests BIGINT           NOT NULL,
    by_model TEXT             NOT NULL,
    at       BIGINT           NOT NULL,
    PRIMARY KEY (jti, client, instance)
);
