-- In the names of which verifiers clients read the feed that have not acknowledged under them. A
-- client that reads it in nobody's name is in `sightings`, as `feed`.
CREATE TABLE readers (
    client   TEXT    NOT NULL,
    verifier TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (client, verifier)
) STRICT, WITHOUT ROWID;
