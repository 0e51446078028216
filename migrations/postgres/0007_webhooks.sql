-- Webhooks: each account's signing secret, and the deliveries that are owed or were made.

CREATE TABLE webhook_secrets (
    account_id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    secret         TEXT    NOT NULL, -- whsec_ and base64; it signs, so it cannot be hashed
    previous       TEXT,             -- signs besides until previous_until, after a rotation
    previous_until BIGINT,
    created_at     BIGINT  NOT NULL
);

CREATE TABLE webhook_deliveries (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- the webhook-id header
    created_at   BIGINT  NOT NULL,
    account_id   TEXT    NOT NULL,
    event        TEXT    NOT NULL,
    url          TEXT    NOT NULL,
    payload      TEXT    NOT NULL,
    status       TEXT    NOT NULL, -- pending, delivered, failed
    attempts     BIGINT  NOT NULL,
    due_at       BIGINT  NOT NULL, -- of a pending one: when it may be leased; a lease moves it on
    lease_owner  TEXT,
    last_status  BIGINT,
    last_error   TEXT,
    delivered_at BIGINT
);

CREATE INDEX webhook_deliveries_by_account ON webhook_deliveries (account_id, created_at, id);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due_at) WHERE status = 'pending';
