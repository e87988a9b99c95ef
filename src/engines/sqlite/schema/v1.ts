/**
 * Version 1 of the tables. The comments inside the statements are stored with them: `sqlite3 FILE
 * .schema` shows them to whoever opens the file. All names begin with `hf_`, so that a program may
 * keep its own tables in the same file.
 *
 * Invariants that every commit preserves:
 *   - a job is in exactly one of hf_ready, hf_scheduled, hf_blocked, hf_lease and hf_finished (so
 *     that at most one lease holds it);
 *   - the counts in hf_queue and hf_key are those of the rows;
 *   - revisions, seqs and clock_ms of a partition never go back.
 *
 * Numbers. Times are integer milliseconds since 1970 by the store's clock. A job's number is unique
 * in the file and holds its partition: `job = (partition - 1) * 2^40 + seq`; in the first partition
 * it is the seq itself. So one integer key serves all partitions, and appends stay at the right
 * edge of the tree.
 *
 * Why so many small tables: ready, leased, scheduled, blocked and finished are places, not states
 * of one row. Claiming moves an entry of about 10 bytes and never rewrites the body; blocked keys
 * cost a claim nothing; each place is ordered as it is read.
 *
 * Why hf_kv and hf_job have a rowid and the places do not: bodies of 200 bytes in the interior of
 * an index tree cost 2.7 times the insert time and 1.7 times the written bytes (measured, 20,000
 * rows at random keys), while for a place the key is all there is.
 */
export const CREATE_V1: string = `
CREATE TABLE hf_meta ( -- one row: the versions of these tables
  one INTEGER PRIMARY KEY CHECK (one = 1),
  version INTEGER NOT NULL,    -- of the tables
  min_reader INTEGER NOT NULL, -- the lowest library schema version that may read them
  min_writer INTEGER NOT NULL  -- the lowest library schema version that may write them
) STRICT;

CREATE TABLE hf_partition ( -- a unit of atomicity: every name below lives in one
  no INTEGER PRIMARY KEY,           -- 1, 2, ...
  name TEXT NOT NULL UNIQUE,
  revision INTEGER NOT NULL,        -- grows by 1 with every group that changes something: the
                                    -- source of fencing tokens
  next_seq INTEGER NOT NULL,        -- of the next job
  is_sealed INTEGER NOT NULL,       -- 1: takes no more groups
  moved_to TEXT,                    -- where to, if it is known
  journal_count INTEGER NOT NULL,   -- changes journalled so far
  journal_floor INTEGER NOT NULL,   -- changes up to this revision were trimmed from the journal
  clock_ms INTEGER NOT NULL         -- the store's clock at the last write; the greatest of all
                                    -- partitions is the clock's high-water mark
) STRICT;

CREATE TABLE hf_session ( -- a lease of a process, on which its jobs and keys hang
  no INTEGER PRIMARY KEY,
  partition INTEGER NOT NULL,
  id TEXT NOT NULL,
  label TEXT NOT NULL,        -- host, process and program, for people
  ttl_ms INTEGER NOT NULL,
  until_ms INTEGER NOT NULL,  -- when it ends unless it is renewed
  is_ended INTEGER NOT NULL,  -- 1: ended by its process; what it held is being given back
  UNIQUE (partition, id)
) STRICT;

CREATE TABLE hf_kv ( -- versioned keys
  no INTEGER PRIMARY KEY,
  partition INTEGER NOT NULL,
  key TEXT NOT NULL,
  value ANY NOT NULL,          -- TEXT or BLOB, as it was put
  revision INTEGER NOT NULL,   -- of the group that wrote it last
  expires_ms INTEGER,          -- from then on it is not there, removed or not
  session TEXT,                -- hf_session.id it ends with
  UNIQUE (partition, key)
) STRICT;
CREATE INDEX hf_kv_expires ON hf_kv (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE INDEX hf_kv_session ON hf_kv (partition, session) WHERE session IS NOT NULL;

CREATE TABLE hf_queue ( -- queues: their rules, and how many of their jobs are where
  no INTEGER PRIMARY KEY,
  partition INTEGER NOT NULL,
  name TEXT NOT NULL,
  config TEXT NOT NULL,        -- JSON: per key, limits, rate, retention ...
  is_paused INTEGER NOT NULL,
  rate_ms REAL NOT NULL,       -- GCRA's theoretical arrival time of the queue's rate
  ready INTEGER NOT NULL,      -- how many jobs are where
  leased INTEGER NOT NULL,
  scheduled INTEGER NOT NULL,
  blocked INTEGER NOT NULL,
  completed INTEGER NOT NULL,
  cancelled INTEGER NOT NULL,
  dead INTEGER NOT NULL,
  ready_events INTEGER NOT NULL,  -- these three grow whenever jobs became ready, finished or were
  done_events INTEGER NOT NULL,   -- asked to stop: other processes see by them whom to wake
  cancel_events INTEGER NOT NULL,
  UNIQUE (partition, name)
) STRICT;

CREATE TABLE hf_job ( -- bodies; where the job is stands in the tables below
  job INTEGER PRIMARY KEY,     -- (partition - 1) * 2^40 + seq
  queue INTEGER NOT NULL,      -- hf_queue.no
  state INTEGER NOT NULL,      -- where it waits, or waited last: 0 ready, 1 scheduled, 2 blocked
  at INTEGER NOT NULL,         -- its rank (ready) or due time (scheduled) there
  flags INTEGER NOT NULL,      -- a sum: 1 scheduled, and keeps its key's place; 2 something of it
                               -- may have run uncounted; 4 its payload was replaced;
                               -- 8 an event wakes it before its time
  attempts INTEGER NOT NULL,   -- that failed
  lost INTEGER NOT NULL,       -- leases that were lost
  priority INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  id TEXT NOT NULL,
  key TEXT,                    -- its ordering key
  trace TEXT,                  -- trace context of whoever added it
  error TEXT,                  -- of the last failed attempt
  attributes TEXT,             -- what it is found by: JSON
  progress ANY,                -- what the last holder of a suspended run noted
  payload ANY NOT NULL,        -- TEXT or BLOB; last, so that reading the rest reads no overflow
  UNIQUE (queue, id)           -- ids begin with time: appends, too
) STRICT;

CREATE TABLE hf_ready ( -- claimable jobs in the order of claiming
  queue INTEGER NOT NULL,
  rank INTEGER NOT NULL,       -- since when it is claimable, less its priority in time
  job INTEGER NOT NULL,
  PRIMARY KEY (queue, rank, job)
) STRICT, WITHOUT ROWID;

CREATE TABLE hf_scheduled ( -- jobs that wait for a time
  queue INTEGER NOT NULL,
  due_ms INTEGER NOT NULL,
  job INTEGER NOT NULL,
  PRIMARY KEY (queue, due_ms, job)
) STRICT, WITHOUT ROWID;

CREATE TABLE hf_blocked ( -- jobs that wait behind others of their key
  queue INTEGER NOT NULL,
  key TEXT NOT NULL,
  job INTEGER NOT NULL,
  PRIMARY KEY (queue, key, job)
) STRICT, WITHOUT ROWID;

CREATE TABLE hf_key ( -- ordering keys in use
  queue INTEGER NOT NULL,
  key TEXT NOT NULL,
  active INTEGER NOT NULL,     -- jobs of it that are ready, leased or hold its place
  waiting INTEGER NOT NULL,    -- jobs of it in hf_blocked
  PRIMARY KEY (queue, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE hf_lease ( -- held jobs
  session INTEGER NOT NULL,    -- hf_session.no
  job INTEGER NOT NULL,
  queue INTEGER NOT NULL,
  token INTEGER NOT NULL,      -- fencing token
  is_cancel_requested INTEGER NOT NULL,
  key TEXT,                    -- the job's, so that settling need not read the body
  progress ANY,
  PRIMARY KEY (session, job)
) STRICT, WITHOUT ROWID;
CREATE INDEX hf_lease_cancel ON hf_lease (session) WHERE is_cancel_requested = 1;

CREATE TABLE hf_finished ( -- jobs that are over and still kept
  queue INTEGER NOT NULL,
  state INTEGER NOT NULL,      -- 0 completed, 1 cancelled, 2 dead
  job INTEGER NOT NULL,
  finished_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL, -- when it is removed with its body
  result ANY,
  PRIMARY KEY (queue, state, job)
) STRICT, WITHOUT ROWID;
CREATE INDEX hf_finished_expires ON hf_finished (expires_ms);
-- Which go first where no more than a number is kept: dead ones are not counted.
CREATE INDEX hf_finished_oldest ON hf_finished (queue, state, finished_ms, job) WHERE state < 2;

CREATE TABLE hf_record ( -- the journals of runs, which are jobs of queues named '$run/...'
  job INTEGER NOT NULL,
  no INTEGER NOT NULL,         -- 1, 2, ... within the run
  at_ms INTEGER NOT NULL,
  due_ms INTEGER,              -- of a timer
  key TEXT NOT NULL,           -- what it records: the kind and the name of a step, wait ...
  data ANY NOT NULL,           -- last, so that reading the rest reads no overflow
  PRIMARY KEY (job, no)
) STRICT, WITHOUT ROWID;

CREATE TABLE hf_event ( -- what was sent to runs; kept until the run is gone
  job INTEGER NOT NULL,
  no INTEGER NOT NULL,         -- 1, 2, ... within the run
  at_ms INTEGER NOT NULL,
  event TEXT NOT NULL,
  id TEXT,                     -- the sender's: sending again under it changes nothing
  data ANY NOT NULL,
  PRIMARY KEY (job, no)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX hf_event_id ON hf_event (job, id) WHERE id IS NOT NULL;

CREATE TABLE hf_mark ( -- facts about names that end by themselves
  queue INTEGER NOT NULL,
  kind TEXT NOT NULL,          -- 'dedupe': value is the job's seq, id its id, and writer the id
                               -- under which its payload was replaced last;
                               -- 'rate': value is the key's GCRA time
  name TEXT NOT NULL,
  value REAL NOT NULL,
  id TEXT,
  writer TEXT,
  expires_ms INTEGER NOT NULL,
  PRIMARY KEY (queue, kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX hf_mark_expires ON hf_mark (expires_ms);

CREATE TABLE hf_journal ( -- what changed, for watchers: one row a commit
  partition INTEGER NOT NULL,
  revision INTEGER NOT NULL,   -- of the last group in the commit
  count INTEGER NOT NULL,      -- hf_partition.journal_count after it
  entries TEXT NOT NULL,       -- JSON, a list of [revision, "k", key, is gone]
                               -- and [revision, "q", queue, seq, state]
  PRIMARY KEY (partition, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE hf_bus ( -- the last messages, for other processes to pick up
  no INTEGER PRIMARY KEY,
  partition INTEGER NOT NULL,
  topic TEXT NOT NULL,
  message ANY NOT NULL
) STRICT;

CREATE TABLE hf_intake ( -- groups of programs' own transactions; the next commit takes them in
  no INTEGER PRIMARY KEY,
  partition TEXT NOT NULL,     -- hf_partition.name
  ops TEXT NOT NULL            -- JSON
) STRICT;

CREATE VIEW hf_jobs AS -- every job with its real state, for people
SELECT p.name AS partition, q.name AS queue, j.id, j.job - (p.no - 1) * 1099511627776 AS seq,
  CASE
    WHEN f.job IS NOT NULL THEN
      CASE f.state WHEN 0 THEN 'completed' WHEN 1 THEN 'cancelled' ELSE 'dead' END
    WHEN l.job IS NOT NULL THEN 'leased'
    ELSE CASE j.state WHEN 0 THEN 'ready' WHEN 1 THEN 'scheduled' ELSE 'blocked' END
  END AS state,
  j.payload, j.key, j.priority, j.attempts, j.lost, j.created_ms,
  CASE WHEN f.job IS NULL AND l.job IS NULL AND j.state = 1 THEN j.at END AS due_ms,
  s.id AS session, l.token, coalesce(l.progress, j.progress) AS progress, j.attributes,
  f.result, j.error, f.finished_ms, f.expires_ms
FROM hf_job j
JOIN hf_queue q ON q.no = j.queue
JOIN hf_partition p ON p.no = q.partition
LEFT JOIN hf_finished f ON f.queue = j.queue AND f.state IN (0, 1, 2) AND f.job = j.job
LEFT JOIN hf_lease l ON l.session IN (SELECT no FROM hf_session) AND l.job = j.job
LEFT JOIN hf_session s ON s.no = l.session;

CREATE VIEW hf_keys AS -- every key, for people
SELECT p.name AS partition, k.key, k.value, k.revision, k.expires_ms, k.session
FROM hf_kv k JOIN hf_partition p ON p.no = k.partition;

INSERT INTO hf_meta (one, version, min_reader, min_writer) VALUES (1, 1, 1, 1);
`;
