-- Since when it has been known that escrows wait in vain for what a ledger has to report; none: it is not so.
ALTER TABLE ledgers ADD COLUMN silent INTEGER;
