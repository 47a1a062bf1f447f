-- Quotas in money: what models cost, and what is escrowed and used of it, in millionths.

-- Every version of the list of prices, JSON; the last one counts, and escrows name theirs.
CREATE TABLE prices (
    version BIGINT PRIMARY KEY,
    author  TEXT   NOT NULL,
    at      BIGINT NOT NULL,
    body    TEXT   NOT NULL
);

-- Of a client's quota in money the same as of that in LLM tokens.
ALTER TABLE quotas ADD COLUMN money_quota BIGINT NOT NULL DEFAULT 0;
ALTER TABLE quotas ADD COLUMN money_alerted BIGINT NOT NULL DEFAULT 0;
ALTER TABLE quotas ADD COLUMN money_granted BIGINT NOT NULL DEFAULT 0;
ALTER TABLE quotas ADD COLUMN money_reserved BIGINT NOT NULL DEFAULT 0;
ALTER TABLE quotas ADD COLUMN money_spent BIGINT NOT NULL DEFAULT 0;
ALTER TABLE quotas ADD COLUMN money_refunded BIGINT NOT NULL DEFAULT 0;
ALTER TABLE quotas ADD COLUMN money_overrun BIGINT NOT NULL DEFAULT 0;
ALTER TABLE quotas ADD COLUMN money_carried BIGINT NOT NULL DEFAULT 0;

-- Of a token's escrow: the list of prices that it was taken by (0: it is in LLM tokens only), the
-- dearest price in it of a million LLM tokens, what that makes of the escrow, what of it was used,
-- and what was used beyond it.
ALTER TABLE escrows ADD COLUMN prices BIGINT NOT NULL DEFAULT 0;
ALTER TABLE escrows ADD COLUMN rate BIGINT NOT NULL DEFAULT 0;
ALTER TABLE escrows ADD COLUMN cost BIGINT NOT NULL DEFAULT 0;
ALTER TABLE escrows ADD COLUMN cost_spent BIGINT NOT NULL DEFAULT 0;
ALTER TABLE escrows ADD COLUMN cost_overrun BIGINT NOT NULL DEFAULT 0;
