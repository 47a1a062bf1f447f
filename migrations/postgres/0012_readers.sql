-- In the names of which verifiers clients read the feed that have not acknowledged under them. A
-- client that reads it in nobody's name is in `sightings`, as `feed`.
CREATE TABLE readers (
    client   TEXT COLLATE "C" NOT NULL,
    verifier TEXT COLLATE "C" NOT NULL,
    at       BIGINT           NOT NULL,
    PRIMARY KEY (client, verifier)
);
