-- Accounts, keys and the request log.
-- Moments are milliseconds since 1970, money is millionths of a US dollar, JSON is text, yes and no are 1 and 0.
-- Ids are compared byte by byte (COLLATE "C"), whatever the language of the database: their order is the order of time.

CREATE TABLE accounts (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    created_at BIGINT  NOT NULL
);

INSERT INTO accounts (id, name, created_at) VALUES ('default', 'Default', (extract(epoch FROM now()) * 1000)::bigint);

CREATE TABLE api_keys (
    id             TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id     TEXT    NOT NULL REFERENCES accounts (id),
    name           TEXT,
    hash           TEXT    NOT NULL, -- SHA-256 of the secret, in hexadecimal
    last_four      TEXT    NOT NULL,
    previous_hash  TEXT,             -- accepted until previous_until, after a rotation
    previous_until BIGINT,
    admin          BIGINT  NOT NULL,
    allowed_models TEXT    NOT NULL, -- JSON array of patterns; empty allows all
    created_at     BIGINT  NOT NULL,
    expires_at     BIGINT,
    revoked_at     BIGINT
);

CREATE INDEX api_keys_by_time ON api_keys (created_at, id);
CREATE INDEX api_keys_by_account ON api_keys (account_id, created_at, id);

-- No foreign keys: what was spent stays on record, whatever becomes of the account or the key.
CREATE TABLE requests (
    id                  TEXT COLLATE "C" NOT NULL,
    created_at          BIGINT  NOT NULL,
    account_id          TEXT    NOT NULL,
    key_id              TEXT    NOT NULL,
    endpoint            TEXT    NOT NULL,
    model               TEXT    NOT NULL,
    modality            TEXT    NOT NULL,
    status              TEXT    NOT NULL,
    mode                TEXT,
    executed_model      TEXT,
    provider            TEXT,
    cost                BIGINT,
    cost_source         TEXT,
    cost_note           TEXT,
    cost_estimate       BIGINT,
    cost_uncertain      BIGINT  NOT NULL,
    duration_ms         BIGINT,
    gateway_ms          BIGINT,
    provider_ms         BIGINT,
    response_ms         BIGINT,
    image_count         BIGINT  NOT NULL CHECK (image_count >= 0),
    size                TEXT,
    output_format       TEXT,
    error_code          TEXT,
    error_message       TEXT,
    session_id          TEXT,
    trace_id            TEXT,
    end_user            TEXT,
    request_size_bytes  BIGINT  NOT NULL,
    response_size_bytes BIGINT,
    attempts            TEXT    NOT NULL,
    timeline            TEXT    NOT NULL,
    adjustments         TEXT    NOT NULL,
    sandbox             BIGINT  NOT NULL,
    PRIMARY KEY (id, created_at) -- not (id) alone: range partitions by created_at can follow without a new key
);

-- Every list is newest first, so every index ends in (created_at, id).
CREATE INDEX requests_by_time ON requests (created_at, id);
CREATE INDEX requests_by_account ON requests (account_id, created_at, id);
CREATE INDEX requests_by_key ON requests (key_id, created_at, id);
CREATE INDEX requests_by_model ON requests (model, created_at, id);
CREATE INDEX requests_by_status ON requests (status, created_at, id);
CREATE INDEX requests_by_provider ON requests (provider, created_at, id) WHERE provider IS NOT NULL;
CREATE INDEX requests_by_error ON requests (error_code, created_at, id) WHERE error_code IS NOT NULL;
CREATE INDEX requests_by_session ON requests (session_id, created_at, id) WHERE session_id IS NOT NULL;
CREATE INDEX requests_by_end_user ON requests (end_user, created_at, id) WHERE end_user IS NOT NULL;
