-- Whose tokens a revocation kills, for operators who see one tenant only; NULL where nobody knows,
-- and for keys and for everything.
ALTER TABLE revocations ADD COLUMN tenant TEXT;
UPDATE revocations SET tenant = CASE split_part(subject, ':', 1)
    WHEN 'tenant' THEN substr(subject, 8)
    WHEN 'client' THEN split_part(substr(subject, 8), '/', 1)
    WHEN 'sub' THEN split_part(substr(subject, 5), '/', 1)
    WHEN 'cred' THEN split_part(substr(subject, 6), '/', 1)
    WHEN 'jti' THEN (SELECT tokens.tenant FROM tokens
        WHERE jti = decode(replace(substr(subject, 5), '-', ''), 'hex'))
END;
CREATE INDEX revocations_of_tenant ON revocations (tenant, id) WHERE tenant IS NOT NULL;

-- From tomorrow on each day has a partition of `tokens`, which the service makes ahead and drops when
-- nothing in it is to be kept. What there is, with all that comes today, becomes one that ends then:
-- the default one is empty, and catches what finds no other.
DO $$
DECLARE
    first DATE := greatest(
        (now() AT TIME ZONE 'UTC')::date,
        (SELECT (to_timestamp(('x' || encode(substr(jti, 1, 6), 'hex'))::bit(48)::bigint / 1000)
            AT TIME ZONE 'UTC')::date FROM tokens ORDER BY jti DESC LIMIT 1)
    ) + 1;
    before TEXT := 'tokens_before_' || to_char(first, 'YYYYMMDD');
    bound BYTEA := decode(
        lpad(to_hex((extract(epoch FROM first::timestamp) * 1000)::bigint), 12, '0')
            || repeat('00', 10),
        'hex'
    );
BEGIN
    ALTER TABLE tokens DETACH PARTITION tokens_default;
    EXECUTE format('ALTER TABLE tokens_default RENAME TO %I', before);
    EXECUTE format(
        'ALTER TABLE tokens ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)', before, bound
    );
    CREATE TABLE tokens_default PARTITION OF tokens DEFAULT;
END
$$;
