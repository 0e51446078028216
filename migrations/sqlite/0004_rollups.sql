-- Sums of the log by hour, kept in the transaction that changes a row, so they are never behind it. One set for each lens:
-- everything, and each thing that a summary is narrowed to or broken down by.

CREATE TABLE request_hours (
    lens        TEXT NOT NULL, -- total, all, model, provider, key, user, status, modality, error
    value       TEXT NOT NULL, -- '' under the lenses total and all, and where a request has none
    account_id  TEXT NOT NULL, -- '' under the lens total
    hour        INTEGER NOT NULL, -- counted from 1970
    requests    INTEGER NOT NULL,
    cost        INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    PRIMARY KEY (lens, value, account_id, hour)
) STRICT;

INSERT INTO request_hours (lens, value, account_id, hour, requests, cost, duration_ms)
SELECT 'total', '', '', created_at / 3600000, COUNT(*),
       CAST(COALESCE(SUM(cost), 0) AS BIGINT), CAST(COALESCE(SUM(duration_ms), 0) AS BIGINT)
FROM requests GROUP BY 1, 2, 3, 4
UNION ALL
SELECT 'all', '', account_id, created_at / 3600000, COUNT(*),
       CAST(COALESCE(SUM(cost), 0) AS BIGINT), CAST(COALESCE(SUM(duration_ms), 0) AS BIGINT)
FROM requests GROUP BY 1, 2, 3, 4
UNION ALL
SELECT 'model', model, account_id, created_at / 3600000, COUNT(*),
       CAST(COALESCE(SUM(cost), 0) AS BIGINT), CAST(COALESCE(SUM(duration_ms), 0) AS BIGINT)
FROM requests GROUP BY 1, 2, 3, 4
UNION ALL
SELECT 'provider', COALESCE(provider, ''), account_id, created_at / 3600000, COUNT(*),
       CAST(COALESCE(SUM(cost), 0) AS BIGINT), CAST(COALESCE(SUM(duration_ms), 0) AS BIGINT)
FROM requests GROUP BY 1, 2, 3, 4
UNION ALL
SELECT 'key', key_id, account_id, created_at / 3600000, COUNT(*),
       CAST(COALESCE(SUM(cost), 0) AS BIGINT), CAST(COALESCE(SUM(duration_ms), 0) AS BIGINT)
FROM requests GROUP BY 1, 2, 3, 4
UNION ALL
SELECT 'user', COALESCE(end_user, ''), account_id, created_at / 3600000, COUNT(*),
       CAST(COALESCE(SUM(cost), 0) AS BIGINT), CAST(COALESCE(SUM(duration_ms), 0) AS BIGINT)
FROM requests GROUP BY 1, 2, 3, 4
UNION ALL
SELECT 'status', status, account_id, created_at / 3600000, COUNT(*),
       CAST(COALESCE(SUM(cost), 0) AS BIGINT), CAST(COALESCE(SUM(duration_ms), 0) AS BIGINT)
FROM requests GROUP BY 1, 2, 3, 4
UNION ALL
SELECT 'modality', modality, account_id, created_at / 3600000, COUNT(*),
       CAST(COALESCE(SUM(cost), 0) AS BIGINT), CAST(COALESCE(SUM(duration_ms), 0) AS BIGINT)
FROM requests GROUP BY 1, 2, 3, 4
UNION ALL
SELECT 'error', COALESCE(error_code, ''), account_id, created_at / 3600000, COUNT(*),
       CAST(COALESCE(SUM(cost), 0) AS BIGINT), CAST(COALESCE(SUM(duration_ms), 0) AS BIGINT)
FROM requests GROUP BY 1, 2, 3, 4;
