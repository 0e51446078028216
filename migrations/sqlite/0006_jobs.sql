-- Jobs that outlive the request that asked for them: videos, and images that were asked for in the background.
-- A job is leased by the process that works on it; when the lease runs out, any other takes it over.

CREATE TABLE jobs (
    id           TEXT    NOT NULL PRIMARY KEY, -- the request's id
    created_at   INTEGER NOT NULL,
    account_id   TEXT    NOT NULL,
    key_id       TEXT    NOT NULL,
    kind         TEXT    NOT NULL, -- video, image
    status       TEXT    NOT NULL, -- queued, in_progress, completed, failed, cancelled
    done         INTEGER NOT NULL, -- 1 once the status is final
    request      TEXT    NOT NULL, -- JSON: what was asked; never changes
    state        TEXT    NOT NULL, -- JSON: how far it is; the worker's
    view         TEXT    NOT NULL, -- JSON: what the API shows
    deadline_at  INTEGER NOT NULL,
    completed_at INTEGER,
    expires_at   INTEGER,
    cancel       INTEGER NOT NULL, -- 1 once somebody asked to stop it
    deleted      INTEGER NOT NULL, -- 1 once it is hidden from the API
    lease_owner  TEXT,
    lease_until  INTEGER NOT NULL
) STRICT;

CREATE INDEX jobs_by_account ON jobs (account_id, created_at, id);
CREATE INDEX jobs_to_lease ON jobs (lease_until) WHERE done = 0;
CREATE INDEX jobs_to_cancel ON jobs (lease_owner) WHERE done = 0 AND cancel = 1;
