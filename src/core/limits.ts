/**
 * Every hard limit, named, in one place. A limit is refused with `TOO_LARGE` (sizes and numbers of
 * data) or `RangeError` (arguments), before anything is written.
 */
export const LIMITS = {
  /** A namespace, partition, queue, topic or session name, in characters. */
  nameChars: 200,
  /** A key of `kv`, in UTF-8 bytes. */
  keyBytes: 1_024,
  /** A value of `kv`, in UTF-8 bytes. */
  valueBytes: 1_048_576,
  /** A job's payload, in UTF-8 bytes. */
  payloadBytes: 1_048_576,
  /** A job's result, in UTF-8 bytes. */
  resultBytes: 1_048_576,
  /** A job's progress value, in UTF-8 bytes. */
  progressBytes: 16_384,
  /** One record of a run's journal, and one event, in UTF-8 bytes. */
  recordBytes: 1_048_576,
  /** The key of a record, in characters: it names what it records. */
  recordKeyChars: 400,
  /** Records that one op may append. */
  recordsPerOp: 1_000,
  /** Events of one run that are kept; more are refused with `LIMITED`. */
  runEvents: 10_000,
  /** A message on the bus, in UTF-8 bytes. */
  messageBytes: 65_536,
  /** A stored error text, in characters. */
  errorChars: 2_000,
  /** A job's id, ordering key or dedupe key, in characters. */
  idChars: 200,
  /** Operations in one group, unless the engine's capability is lower. */
  opsPerGroup: 4_096,
  /** Bytes of payload in one group. */
  groupBytes: 8_388_608,
  /** Groups that one commit carries. */
  groupsPerCommit: 1_024,
  /** Operations that one commit carries (a single larger group still goes alone). */
  opsPerCommit: 4_096,
  /** Bytes of payload that one commit carries (a single larger group still goes alone). */
  commitBytes: 8_388_608,
  /** Groups that may wait in the batcher; more are refused with `OVERLOADED`. */
  groupsWaiting: 65_536,
  /** Bytes of payload that may wait in the batcher; more are refused with `OVERLOADED`. */
  bytesWaiting: 268_435_456,
  /** Jobs that one claim may take. */
  claimJobs: 1_000,
  /** Rows of one page of a list. */
  /** Jobs that one read looks at in search of those that are meant. */
  lookedAt: 10_000,
  /** Of one job; a name or text has at most `nameChars` characters. */
  attributes: 16,
  pageRows: 1_000,
  /** Keys of one `get`. */
  getKeys: 1_000,
  /**
   * Rows that one commit moves for time's sake (expiries, due jobs, ended sessions), so that it
   * stays short.
   */
  reapRows: 1_000,
  /** The longest delay, TTL or timeout: 400 days. */
  durationMs: 34_560_000_000,
  /** The shortest session. */
  sessionTtlMinMs: 100,
  sessionTtlMaxMs: 3_600_000,
  priorityMax: 100,
  /** Changes kept in the journal for watchers; an older cursor gives a resync. */
  journalEntries: 200_000,
  /** Events that a watch may buffer before it is merged into a resync. */
  watchBuffer: 10_000,
  /** Partitions in one SQLite file. */
  sqlitePartitions: 8_192,
  /** Jobs that one `addMany` call may carry. */
  addMany: 100_000,
  /** Records of one import; a page of an export has fewer but for very many sessions or queues. */
  importRecords: 100_000,
  /** Bytes of data in one import: export smaller pages where records are large. */
  importBytes: 67_108_864,
  /** An export's cursor, in characters: it may name a key, each byte of it escaped. */
  cursorChars: 16_384,
  /** Where a partition has moved to, in characters. */
  placeChars: 2_000,
} as const;

/** The greatest whole number that every engine keeps exactly. */
export const MAX_INTEGER: number = Number.MAX_SAFE_INTEGER;
