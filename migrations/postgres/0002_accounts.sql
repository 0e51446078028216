-- What an account may spend, what a key may spend, and what was paid in. Millionths of a US dollar, as everywhere.

ALTER TABLE accounts
    ADD COLUMN billing      TEXT   NOT NULL DEFAULT 'postpaid' CHECK (billing IN ('prepaid', 'postpaid')),
    ADD COLUMN balance      BIGINT NOT NULL DEFAULT 0, -- paid in less what was spent
    ADD COLUMN reserved     BIGINT NOT NULL DEFAULT 0, -- held for requests that run
    ADD COLUMN credit_limit BIGINT,                    -- how far below zero a postpaid account may go; none when NULL
    ADD COLUMN topped_up    BIGINT NOT NULL DEFAULT 0, -- the balance right after the latest credit
    ADD COLUMN webhook_url  TEXT;                      -- who is told when a limit is nearly or wholly used

CREATE TABLE credits (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id TEXT   NOT NULL REFERENCES accounts (id),
    amount     BIGINT NOT NULL,
    note       TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE INDEX credits_by_account ON credits (account_id, created_at, id);

ALTER TABLE api_keys
    ADD COLUMN budget         BIGINT,                    -- at most so much in all
    ADD COLUMN budget_daily   BIGINT,                    -- and in a day (UTC)
    ADD COLUMN budget_monthly BIGINT,                    -- and in a month (UTC)
    ADD COLUMN budget_soft    BIGINT NOT NULL DEFAULT 0, -- 1: over a budget we tell and do not refuse
    ADD COLUMN rate_limit_rpm BIGINT,                    -- requests begun in a minute
    ADD COLUMN max_concurrent BIGINT,                    -- requests at once
    ADD COLUMN reserved       BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN running        BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN spent          BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN day            BIGINT NOT NULL DEFAULT 0, -- the day that spent_day is of, counted from 1970
    ADD COLUMN spent_day      BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN month          BIGINT NOT NULL DEFAULT 0, -- the month that spent_month is of, counted from 1970
    ADD COLUMN spent_month    BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN minute         BIGINT NOT NULL DEFAULT 0, -- the minute that begun is of, counted from 1970
    ADD COLUMN begun          BIGINT NOT NULL DEFAULT 0;

-- What was asked and answered, without media bytes, where the operator keeps it.
CREATE TABLE request_payloads (
    request_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id TEXT   NOT NULL,
    payload    TEXT,            -- JSON; NULL once it was purged
    media      TEXT   NOT NULL, -- JSON array: names of the files that were made
    expires_at BIGINT NOT NULL
);

CREATE INDEX request_payloads_by_end ON request_payloads (expires_at);

-- What was spent before there were balances counts as well.
UPDATE accounts SET balance = -(SELECT COALESCE(SUM(cost), 0) FROM requests WHERE account_id = accounts.id);
UPDATE api_keys SET spent = (SELECT COALESCE(SUM(cost), 0) FROM requests WHERE key_id = api_keys.id);
