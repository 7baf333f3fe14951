-- What the store holds. `events` is the record; the tables marked "projection" are folds of it and can be rebuilt.
-- Times are milliseconds since 1970-01-01 UTC; json is kept as bytes, as it was hashed.

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Append-only and hash-chained: hash = sha256(prev_hash || json).
CREATE TABLE events (
    seq       INTEGER NOT NULL PRIMARY KEY,
    chain     TEXT    NOT NULL,
    at_ms     INTEGER NOT NULL,
    run       TEXT,
    host      TEXT,
    json      BLOB    NOT NULL,
    prev_hash BLOB    NOT NULL,
    hash      BLOB    NOT NULL
) STRICT;
CREATE INDEX events_by_run ON events (run, seq) WHERE run IS NOT NULL;
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

-- The last link of each chain: tells when events at the end are missing.
CREATE TABLE chains (
    chain TEXT    NOT NULL PRIMARY KEY,
    seq   INTEGER NOT NULL,
    hash  BLOB    NOT NULL
) STRICT;

-- Projection: the hosts of the inventory that were met.
CREATE TABLE hosts (
    host          TEXT NOT NULL PRIMARY KEY,
    machine       TEXT,
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms  INTEGER NOT NULL,
    held          BLOB,
    facts         BLOB,
    facts_digest  TEXT
) STRICT;
CREATE INDEX hosts_by_machine ON hosts (machine) WHERE machine IS NOT NULL;

-- Projection: the machines, with the host each was last seen behind.
CREATE TABLE machines (
    machine       TEXT NOT NULL PRIMARY KEY,
    host          TEXT NOT NULL,
    first_seen_ms INTEGER NOT NULL
) STRICT;

-- Projection: what Holdfast put on each machine. `digest` is the SHA-256 of `entry`: undo relies on these bytes.
CREATE TABLE ledger (
    machine  TEXT    NOT NULL,
    address  TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    phase    TEXT    NOT NULL,
    origin   TEXT    NOT NULL,
    entry    BLOB    NOT NULL,
    digest   BLOB    NOT NULL,
    PRIMARY KEY (machine, address)
) STRICT;

-- Projection: services that are owed a restart, with the addresses that changed.
CREATE TABLE owed (
    machine TEXT NOT NULL,
    address TEXT NOT NULL,
    changed BLOB NOT NULL,
    PRIMARY KEY (machine, address)
) STRICT;

-- Projection: the runs. `digest` is the SHA-256 of the other columns.
CREATE TABLE runs (
    run        TEXT    NOT NULL PRIMARY KEY,
    seq        INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    plan       TEXT,
    hosts      BLOB    NOT NULL,
    started_by TEXT    NOT NULL,
    command    TEXT    NOT NULL,
    started_ms INTEGER NOT NULL,
    ended_ms   INTEGER,
    recap      BLOB,
    digest     TEXT    NOT NULL
) STRICT;
CREATE INDEX runs_by_seq ON runs (seq);

-- Projection: the attempts. `intent` is there for jobs, not for ad-hoc commands; `open` is there
-- while the fold of the ledger waits for reports of it: how far its steps are known to have come.
CREATE TABLE attempts (
    attempt     TEXT    NOT NULL PRIMARY KEY,
    seq         INTEGER NOT NULL,
    run         TEXT    NOT NULL,
    host        TEXT    NOT NULL,
    machine     TEXT,
    epoch       INTEGER,
    intent      BLOB,
    open        BLOB,
    state       TEXT    NOT NULL,
    state_seq   INTEGER NOT NULL,
    ended       BLOB,
    result      BLOB
) STRICT;
CREATE INDEX attempts_by_run ON attempts (run);
CREATE INDEX attempts_by_host ON attempts (host, seq);
CREATE INDEX attempts_open ON attempts (machine) WHERE open IS NOT NULL;
CREATE INDEX attempts_unfinished ON attempts (host) WHERE state IN ('intended', 'started');

-- Projection: the last report of each step.
CREATE TABLE steps (
    attempt TEXT    NOT NULL,
    step    INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    report  BLOB    NOT NULL,
    PRIMARY KEY (attempt, step)
) STRICT;

-- Projection: the agents' reports, each recorded once.
CREATE TABLE reports (
    machine     TEXT    NOT NULL,
    spool       TEXT    NOT NULL,
    number      INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    host        TEXT    NOT NULL,
    digest      TEXT    NOT NULL,
    observed_ms INTEGER NOT NULL,
    recorded_ms INTEGER NOT NULL,
    resources   BLOB    NOT NULL,
    PRIMARY KEY (machine, spool, number)
) STRICT;
CREATE INDEX reports_by_host ON reports (host, seq);

-- Projection: jobs and lives that were found on machines, in no record, and that a person took as found.
CREATE TABLE as_found (
    machine TEXT NOT NULL,
    id      TEXT NOT NULL,
    PRIMARY KEY (machine, id)
) STRICT;

-- When a host was last reached, whether or not that was an event.
CREATE TABLE seen (
    host    TEXT    NOT NULL PRIMARY KEY,
    last_ms INTEGER NOT NULL
) STRICT;

-- Attempts whose folder on the host is known to be removed.
CREATE TABLE acked (
    attempt TEXT NOT NULL PRIMARY KEY
) STRICT;

CREATE TABLE leases (
    host       TEXT    NOT NULL PRIMARY KEY,
    epoch      INTEGER NOT NULL,
    holder     TEXT,
    expires_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE plans (
    plan     TEXT    NOT NULL PRIMARY KEY,
    saved_ms INTEGER NOT NULL,
    json     BLOB    NOT NULL,
    digest   TEXT    NOT NULL
) STRICT;

CREATE TABLE blobs (
    sha256  TEXT    NOT NULL PRIMARY KEY,
    used_ms INTEGER NOT NULL,
    bytes   BLOB    NOT NULL
) STRICT;
