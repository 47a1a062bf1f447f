-- Lists and pruning that would go through what they do not want: the audit log of one action (that of
-- mints is most of the log), one kind of windows, batches that are still whole.
CREATE INDEX audit_of_action ON audit (action, id) WHERE action <> 'mint';
CREATE INDEX quotas_of_window ON quotas (period, starts, client);
CREATE INDEX deny_batches_whole ON deny_batches (at) WHERE jws IS NOT NULL;
