-- What an account may spend, what a key may spend, and what was paid in. Millionths of a US dollar, as everywhere.

ALTER TABLE accounts ADD COLUMN billing TEXT NOT NULL DEFAULT 'postpaid' CHECK (billing IN ('prepaid', 'postpaid'));
ALTER TABLE accounts ADD COLUMN balance INTEGER NOT NULL DEFAULT 0; -- paid in less what was spent
ALTER TABLE accounts ADD COLUMN reserved INTEGER NOT NULL DEFAULT 0; -- held for requests that run
ALTER TABLE accounts ADD COLUMN credit_limit INTEGER; -- how far below zero a postpaid account may go; none when NULL
ALTER TABLE accounts ADD COLUMN topped_up INTEGER NOT NULL DEFAULT 0; -- the balance right after the latest credit
ALTER TABLE accounts ADD COLUMN webhook_url TEXT; -- who is told when a limit is nearly or wholly used

CREATE TABLE credits (
    id         TEXT NOT NULL PRIMARY KEY,
    account_id TEXT   NOT NULL REFERENCES accounts (id),
    amount     INTEGER NOT NULL,
    note       TEXT   NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX credits_by_account ON credits (account_id, created_at, id);

ALTER TABLE api_keys ADD COLUMN budget INTEGER; -- at most so much in all
ALTER TABLE api_keys ADD COLUMN budget_daily INTEGER; -- and in a day (UTC)
ALTER TABLE api_keys ADD COLUMN budget_monthly INTEGER; -- and in a month (UTC)
ALTER TABLE api_keys ADD COLUMN budget_soft INTEGER NOT NULL DEFAULT 0; -- 1: over a budget we tell and do not refuse
ALTER TABLE api_keys ADD COLUMN rate_limit_rpm INTEGER; -- requests begun in a minute
ALTER TABLE api_keys ADD COLUMN max_concurrent INTEGER; -- requests at once
ALTER TABLE api_keys ADD COLUMN reserved INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN running INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN spent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN day INTEGER NOT NULL DEFAULT 0; -- the day that spent_day is of, counted from 1970
ALTER TABLE api_keys ADD COLUMN spent_day INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN month INTEGER NOT NULL DEFAULT 0; -- the month that spent_month is of, counted from 1970
ALTER TABLE api_keys ADD COLUMN spent_month INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN minute INTEGER NOT NULL DEFAULT 0; -- the minute that begun is of, counted from 1970
ALTER TABLE api_keys ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;

-- What was asked and answered, without media bytes, where the operator keeps it.
CREATE TABLE request_payloads (
    request_id TEXT NOT NULL PRIMARY KEY,
    account_id TEXT   NOT NULL,
    payload    TEXT,            -- JSON; NULL once it was purged
    media      TEXT   NOT NULL, -- JSON array: names of the files that were made
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX request_payloads_by_end ON request_payloads (expires_at);

-- What was spent before there were balances counts as well.
UPDATE accounts SET balance = -(SELECT COALESCE(SUM(cost), 0) FROM requests WHERE account_id = accounts.id);
UPDATE api_keys SET spent = (SELECT COALESCE(SUM(cost), 0) FROM requests WHERE key_id = api_keys.id);
