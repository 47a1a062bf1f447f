-- Quotas in money: what models cost, and what is escrowed and used of it, in millionths.

-- Every version of the list of prices, JSON; the last one counts, and escrows name theirs.
CREATE TABLE prices (
    version INTEGER PRIMARY KEY,
    author  TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    body    TEXT    NOT NULL
) STRICT;

-- Of a client's quota in money the same as of that in LLM tokens.
ALTER TABLE quotas ADD COLUMN money_quota INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quotas ADD COLUMN money_alerted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quotas ADD COLUMN money_granted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quotas ADD COLUMN money_reserved INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quotas ADD COLUMN money_spent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quotas ADD COLUMN money_refunded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quotas ADD COLUMN money_overrun INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quotas ADD COLUMN money_carried INTEGER NOT NULL DEFAULT 0;

-- Of a token's escrow: the list of prices that it was taken by (0: it is in LLM tokens only), the
-- dearest price in it of a million LLM tokens, what that makes of the escrow, what of it was used,
-- and what was used beyond it.
ALTER TABLE escrows ADD COLUMN prices INTEGER NOT NULL DEFAULT 0;
ALTER TABLE escrows ADD COLUMN rate INTEGER NOT NULL DEFAULT 0;
ALTER TABLE escrows ADD COLUMN cost INTEGER NOT NULL DEFAULT 0;
ALTER TABLE escrows ADD COLUMN cost_spent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE escrows ADD COLUMN cost_overrun INTEGER NOT NULL DEFAULT 0;
