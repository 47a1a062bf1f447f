-- How many entries of the deny list are about tokens that nobody has issued, by the minute in which
-- they are over: a flood of them must not make the list too large for those who follow.
CREATE TABLE deny_unissued (
    until   INTEGER NOT NULL PRIMARY KEY,
    entries INTEGER NOT NULL
) STRICT;
