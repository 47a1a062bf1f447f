-- Times are seconds since 1970 (`_ms`: milliseconds), booleans 0 or 1, ids and digests bytes,
-- everything else text. The same tables as migrations/sqlite, column for column.

-- The numbering row: who holds it decides the next sequence number.
CREATE TABLE installation (
    one          BIGINT           PRIMARY KEY CHECK (one = 1),
    issuer       TEXT             NOT NULL,
    epoch        TEXT COLLATE "C" NOT NULL,
    seq          BIGINT           NOT NULL,
    head         BYTEA            NOT NULL,
    newest_ms    BIGINT           NOT NULL,
    keys_version BIGINT           NOT NULL,
    created      BIGINT           NOT NULL
);

CREATE TABLE clients (
    id           TEXT    PRIMARY KEY,
    tenant       TEXT    NOT NULL,
    policy       TEXT    NOT NULL,
    source       TEXT    NOT NULL CHECK (source IN ('vault', 'embedded')),
    enabled      BIGINT  NOT NULL,
    overlap      BIGINT  NOT NULL,
    rotate_by    BIGINT,
    created      BIGINT  NOT NULL,
    rotated      BIGINT,
    last_used    BIGINT,
    last_address TEXT,
    mints        BIGINT  NOT NULL,
    deleted      BIGINT
);
-- The list is newest first, and an operator confined to a tenant sees only its own.
CREATE INDEX clients_newest ON clients (created, id);
CREATE INDEX clients_of_tenant ON clients (tenant, created, id);

CREATE TABLE credentials (
    client  TEXT    NOT NULL REFERENCES clients (id),
    version TEXT    NOT NULL,
    created BIGINT  NOT NULL,
    digest  BYTEA,
    ended   BIGINT,
    PRIMARY KEY (client, version)
);

CREATE TABLE policies (
    name    TEXT   NOT NULL,
    version BIGINT NOT NULL,
    author  TEXT   NOT NULL,
    at      BIGINT NOT NULL,
    body    TEXT   NOT NULL,
    PRIMARY KEY (name, version)
);

-- A jti begins with its time, so a partition is a span of time: a jti stays unique, is looked up in
-- one partition, and an old partition is dropped where rows would be vacuumed.
CREATE TABLE tokens (
    jti    BYTEA  PRIMARY KEY,
    tenant TEXT   NOT NULL,
    client TEXT   NOT NULL,
    sub    TEXT   NOT NULL,
    aud    TEXT   NOT NULL,
    kid    TEXT   NOT NULL,
    cred   TEXT,
    iat    BIGINT NOT NULL,
    exp    BIGINT NOT NULL,
    claims TEXT   NOT NULL
) PARTITION BY RANGE (jti);
CREATE TABLE tokens_default PARTITION OF tokens DEFAULT;
-- A client's inventory, its live tokens and its newest one: asked on each revocation and refresh.
CREATE INDEX tokens_of_client ON tokens (client, jti);
-- The same for a tenant, whose tokens may be few among many. Subjects, credentials and keys are
-- looked for only among what is still live, and do without.
CREATE INDEX tokens_of_tenant ON tokens (tenant, jti);

CREATE TABLE idempotency (
    caller TEXT   NOT NULL,
    route  TEXT   NOT NULL,
    key    TEXT   NOT NULL,
    digest BYTEA  NOT NULL,
    at     BIGINT NOT NULL,
    jti    BYTEA,
    reply  TEXT,
    PRIMARY KEY (caller, route, key)
);
-- Pruned by age.
CREATE INDEX idempotency_at ON idempotency (at);

-- `replica`, `n`, `prev` and `hash` are for a chain of hashes and stay NULL until there is one.
CREATE TABLE audit (
    id         BYTEA   PRIMARY KEY,
    at_ms      BIGINT  NOT NULL,
    action     TEXT    NOT NULL,
    outcome    TEXT    NOT NULL,
    actor      TEXT,
    tenant     TEXT,
    target     TEXT,
    jti        BYTEA,
    address    TEXT,
    request_id TEXT    NOT NULL,
    detail     TEXT    NOT NULL,
    replica    TEXT,
    n          BIGINT,
    prev       BYTEA,
    hash       BYTEA
);
-- What somebody did, what happened in a tenant, what became of a token: each may be rare in a
-- long log. Rows without the member are not in the index.
CREATE INDEX audit_of_actor ON audit (actor, id) WHERE actor IS NOT NULL;
CREATE INDEX audit_of_tenant ON audit (tenant, id) WHERE tenant IS NOT NULL;
CREATE INDEX audit_of_jti ON audit (jti, id) WHERE jti IS NOT NULL;

CREATE TABLE signing_keys (
    kid         TEXT    PRIMARY KEY,
    alg         TEXT    NOT NULL,
    use         TEXT    NOT NULL CHECK (use IN ('token', 'feed', 'root', 'digest')),
    jwk         TEXT    NOT NULL,
    published   BIGINT  NOT NULL,
    active_from BIGINT,
    retire_at   BIGINT,
    revoked_at  BIGINT
);

CREATE TABLE keys_documents (
    version BIGINT PRIMARY KEY,
    at      BIGINT NOT NULL,
    jws     TEXT   NOT NULL
);

-- A batch without `jws` has been pruned to its head.
CREATE TABLE deny_batches (
    epoch TEXT COLLATE "C" NOT NULL,
    seq   BIGINT           NOT NULL,
    at    BIGINT           NOT NULL,
    head  BYTEA            NOT NULL,
    jws   TEXT,
    PRIMARY KEY (epoch, seq)
);
-- Pruned by age.
CREATE INDEX deny_batches_at ON deny_batches (at);

CREATE TABLE deny_entries (
    epoch   TEXT COLLATE "C" NOT NULL,
    seq     BIGINT           NOT NULL,
    ord     BIGINT           NOT NULL,
    kind    TEXT             NOT NULL CHECK (kind IN ('jti', 'client', 'sub', 'tenant', 'cred', 'kid', 'all')),
    subject TEXT             NOT NULL,
    jti     BYTEA,
    before  BIGINT,
    until   BIGINT,
    entry   TEXT             NOT NULL,
    PRIMARY KEY (epoch, seq, ord)
);
-- The cuts that a mint reads under its lock.
CREATE INDEX deny_entries_subject ON deny_entries (subject);
-- Pruned when `until` has passed.
CREATE INDEX deny_entries_until ON deny_entries (until) WHERE until IS NOT NULL;

CREATE TABLE deny_snapshots (
    sha256   BYTEA            PRIMARY KEY,
    epoch    TEXT COLLATE "C" NOT NULL,
    seq      BIGINT           NOT NULL,
    at       BIGINT           NOT NULL,
    manifest TEXT             NOT NULL,
    blob     BYTEA            NOT NULL
);

CREATE TABLE revocations (
    id       BYTEA             PRIMARY KEY,
    epoch    TEXT COLLATE "C",
    seq      BIGINT,
    selector TEXT              NOT NULL,
    subject  TEXT              NOT NULL,
    before   BIGINT,
    reason   TEXT              NOT NULL,
    note     TEXT              NOT NULL,
    by_whom  TEXT              NOT NULL,
    at_ms    BIGINT            NOT NULL,
    until    BIGINT,
    known    BIGINT            NOT NULL
);
-- Was it revoked already?
CREATE INDEX revocations_subject ON revocations (subject, id);
