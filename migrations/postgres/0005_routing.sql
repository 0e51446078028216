-- Idempotency keys: a purchase that is asked for twice under one key is made once. Kept for a day.

CREATE TABLE idempotency (
    account_id  TEXT COLLATE "C" NOT NULL,
    key_hash    TEXT COLLATE "C" NOT NULL, -- SHA-256 of the caller's key, in hexadecimal
    fingerprint TEXT    NOT NULL, -- SHA-256 of the path and the body: the same key with another body is a mistake
    request_id  TEXT    NOT NULL, -- the request that runs or ran; whoever holds it may write the outcome
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    status      BIGINT,          -- of the answer; NULL while the request is running
    headers     TEXT,             -- JSON array of [name, value]
    body        TEXT,             -- the answer, when it is small and text
    stored      TEXT,             -- else its name in the media storage; both NULL: it could not be kept
    PRIMARY KEY (account_id, key_hash)
);

CREATE INDEX idempotency_by_end ON idempotency (expires_at);

-- What operators said about routes, for every replica.
CREATE TABLE route_states (
    route      TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- provider/upstream
    state      TEXT    NOT NULL,             -- draining or disabled
    updated_at BIGINT NOT NULL
);
