-- From which tokens a token was delegated: their ids one after the other, the outermost first;
-- NULL for one that a client minted for itself.
ALTER TABLE tokens ADD COLUMN lin BLOB;
-- A revocation looks for delegated tokens that live, which are few among many.
CREATE INDEX tokens_delegated ON tokens (jti) WHERE lin IS NOT NULL;
