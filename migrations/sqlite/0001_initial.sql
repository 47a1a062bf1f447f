-- Times are seconds since 1970 (`_ms`: milliseconds), booleans 0 or 1, ids and digests bytes,
-- everything else text. The same tables as migrations/postgres, column for column.

-- The numbering row: who holds it decides the next sequence number.
CREATE TABLE installation (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    issuer       TEXT    NOT NULL,
    epoch        TEXT    NOT NULL,
    seq          INTEGER NOT NULL,
    head         BLOB    NOT NULL,
    newest_ms    INTEGER NOT NULL,
    keys_version INTEGER NOT NULL,
    created      INTEGER NOT NULL
) STRICT;

CREATE TABLE clients (
    id           TEXT    PRIMARY KEY,
    tenant       TEXT    NOT NULL,
    policy       TEXT    NOT NULL,
    source       TEXT    NOT NULL CHECK (source IN ('vault', 'embedded')),
    enabled      INTEGER NOT NULL,
    overlap      INTEGER NOT NULL,
    rotate_by    INTEGER,
    created      INTEGER NOT NULL,
    rotated      INTEGER,
    last_used    INTEGER,
    last_address TEXT,
    mints        INTEGER NOT NULL,
    deleted      INTEGER
) STRICT;
-- The list is newest first, and an operator confined to a tenant sees only its own.
CREATE INDEX clients_newest ON clients (created, id);
CREATE INDEX clients_of_tenant ON clients (tenant, created, id);

CREATE TABLE credentials (
    client  TEXT    NOT NULL REFERENCES clients (id),
    version TEXT    NOT NULL,
    created INTEGER NOT NULL,
    digest  BLOB,
    ended   INTEGER,
    PRIMARY KEY (client, version)
) STRICT;

CREATE TABLE policies (
    name    TEXT    NOT NULL,
    version INTEGER NOT NULL,
    author  TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;

CREATE TABLE tokens (
    jti    BLOB    PRIMARY KEY,
    tenant TEXT    NOT NULL,
    client TEXT    NOT NULL,
    sub    TEXT    NOT NULL,
    aud    TEXT    NOT NULL,
    kid    TEXT    NOT NULL,
    cred   TEXT,
    iat    INTEGER NOT NULL,
    exp    INTEGER NOT NULL,
    claims TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
-- A client's inventory, its live tokens and its newest one: asked on each revocation and refresh.
CREATE INDEX tokens_of_client ON tokens (client, jti);
-- The same for a tenant, whose tokens may be few among many. Subjects, credentials and keys are
-- looked for only among what is still live, and do without.
CREATE INDEX tokens_of_tenant ON tokens (tenant, jti);

CREATE TABLE idempotency (
    caller TEXT    NOT NULL,
    route  TEXT    NOT NULL,
    key    TEXT    NOT NULL,
    digest BLOB    NOT NULL,
    at     INTEGER NOT NULL,
    jti    BLOB,
    reply  TEXT,
    PRIMARY KEY (caller, route, key)
) STRICT, WITHOUT ROWID;
-- Pruned by age.
CREATE INDEX idempotency_at ON idempotency (at);

-- `replica`, `n`, `prev` and `hash` are for a chain of hashes and stay NULL until there is one.
CREATE TABLE audit (
    id         BLOB    PRIMARY KEY,
    at_ms      INTEGER NOT NULL,
    action     TEXT    NOT NULL,
    outcome    TEXT    NOT NULL,
    actor      TEXT,
    tenant     TEXT,
    target     TEXT,
    jti        BLOB,
    address    TEXT,
    request_id TEXT    NOT NULL,
    detail     TEXT    NOT NULL,
    replica    TEXT,
    n          INTEGER,
    prev       BLOB,
    hash       BLOB
) STRICT, WITHOUT ROWID;
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
    published   INTEGER NOT NULL,
    active_from INTEGER,
    retire_at   INTEGER,
    revoked_at  INTEGER
) STRICT;

CREATE TABLE keys_documents (
    version INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    jws     TEXT    NOT NULL
) STRICT;

-- A batch without `jws` has been pruned to its head.
CREATE TABLE deny_batches (
    epoch TEXT    NOT NULL,
    seq   INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    head  BLOB    NOT NULL,
    jws   TEXT,
    PRIMARY KEY (epoch, seq)
) STRICT;
-- Pruned by age.
CREATE INDEX deny_batches_at ON deny_batches (at);

CREATE TABLE deny_entries (
    epoch   TEXT    NOT NULL,
    seq     INTEGER NOT NULL,
    ord     INTEGER NOT NULL,
    kind    TEXT    NOT NULL CHECK (kind IN ('jti', 'client', 'sub', 'tenant', 'cred', 'kid', 'all')),
    subject TEXT    NOT NULL,
    jti     BLOB,
    before  INTEGER,
    until   INTEGER,
    entry   TEXT    NOT NULL,
    PRIMARY KEY (epoch, seq, ord)
) STRICT;
-- The cuts that a mint reads under its lock.
CREATE INDEX deny_entries_subject ON deny_entries (subject);
-- Pruned when `until` has passed.
CREATE INDEX deny_entries_until ON deny_entries (until) WHERE until IS NOT NULL;

CREATE TABLE deny_snapshots (
    sha256   BLOB    PRIMARY KEY,
    epoch    TEXT    NOT NULL,
    seq      INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    manifest TEXT    NOT NULL,
    blob     BLOB    NOT NULL
) STRICT;

CREATE TABLE revocations (
    id       BLOB    PRIMARY KEY,
    epoch    TEXT,
    seq      INTEGER,
    selector TEXT    NOT NULL,
    subject  TEXT    NOT NULL,
    before   INTEGER,
    reason   TEXT    NOT NULL,
    note     TEXT    NOT NULL,
    by_whom  TEXT    NOT NULL,
    at_ms    INTEGER NOT NULL,
    until    INTEGER,
    known    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Was it revoked already?
CREATE INDEX revocations_subject ON revocations (subject, id);
