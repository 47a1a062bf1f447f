-- Whose tokens a revocation kills, for operators who see one tenant only; NULL where nobody knows,
-- and for keys and for everything.
ALTER TABLE revocations ADD COLUMN tenant TEXT;
UPDATE revocations SET tenant = CASE substr(subject, 1, instr(subject, ':') - 1)
    WHEN 'tenant' THEN substr(subject, 8)
    WHEN 'client' THEN substr(subject, 8, instr(subject, '/') - 8)
    WHEN 'sub' THEN substr(subject, 5, instr(subject, '/') - 5)
    WHEN 'cred' THEN substr(subject, 6, instr(subject, '/') - 6)
    WHEN 'jti' THEN (SELECT tenant FROM tokens WHERE jti = unhex(substr(subject, 5), '-'))
END;
CREATE INDEX revocations_of_tenant ON revocations (tenant, id) WHERE tenant IS NOT NULL;
