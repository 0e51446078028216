-- The log in partitions, one a month, made ahead by the program. Rows of a month that has none yet lie in requests_rest.

ALTER TABLE requests RENAME TO requests_before;
ALTER INDEX requests_pkey RENAME TO requests_before_pkey;
DROP INDEX requests_by_time, requests_by_account, requests_by_key, requests_by_model, requests_by_status,
    requests_by_provider, requests_by_error, requests_by_session, requests_by_end_user;

CREATE TABLE requests (
    LIKE requests_before INCLUDING DEFAULTS INCLUDING CONSTRAINTS,
    reserved BIGINT NOT NULL DEFAULT 0, -- held on the account and the key while the request runs
    owner    TEXT,                      -- the process that runs it; NULL once it is over
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);

CREATE TABLE requests_rest PARTITION OF requests DEFAULT;
INSERT INTO requests SELECT before.*, 0, NULL FROM requests_before AS before;
DROP TABLE requests_before;

-- Every list is newest first. Rows of one millisecond are few, so the index need not hold their id too.
CREATE INDEX requests_by_time ON requests (created_at);
CREATE INDEX requests_by_account ON requests (account_id, created_at);
CREATE INDEX requests_by_key ON requests (key_id, created_at);
CREATE INDEX requests_by_model ON requests (model, created_at);
CREATE INDEX requests_by_status ON requests (status, created_at);
CREATE INDEX requests_by_modality ON requests (modality, created_at);
CREATE INDEX requests_by_provider ON requests (provider, created_at) WHERE provider IS NOT NULL;
CREATE INDEX requests_by_error ON requests (error_code, created_at) WHERE error_code IS NOT NULL;
CREATE INDEX requests_by_session ON requests (session_id, created_at) WHERE session_id IS NOT NULL;
CREATE INDEX requests_by_end_user ON requests (end_user, created_at) WHERE end_user IS NOT NULL;
CREATE INDEX requests_by_cost ON requests (cost) WHERE cost IS NOT NULL;
CREATE INDEX requests_running ON requests (owner) WHERE owner IS NOT NULL;
