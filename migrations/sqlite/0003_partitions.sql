-- PostgreSQL's log goes into monthly partitions here; a file needs none. The new columns and indexes are the same.

ALTER TABLE requests ADD COLUMN reserved INTEGER NOT NULL DEFAULT 0; -- held on account and key while the request runs
ALTER TABLE requests ADD COLUMN owner TEXT; -- the process that runs it; NULL once it is over

CREATE INDEX requests_by_modality ON requests (modality, created_at, id);
CREATE INDEX requests_by_cost ON requests (cost) WHERE cost IS NOT NULL;
CREATE INDEX requests_running ON requests (owner) WHERE owner IS NOT NULL;
