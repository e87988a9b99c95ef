// holdfast/ports/queue

interface BulkOptions extends Wait {
    readonly max?: number | undefined;
}

interface DedupeInput {
    readonly key: string;
    readonly ttlMs: number;
    readonly mode?: DedupeMode | undefined;
}

interface JobInput {
    readonly payload: Data;
    readonly id?: string | undefined;
    readonly delayMs?: number | undefined;
    readonly priority?: number | undefined;
    readonly key?: string | undefined;
    readonly dedupe?: DedupeInput | undefined;
    readonly trace?: string | undefined;
    readonly attributes?: Attributes | undefined;
}

interface JobList {
    readonly jobs: readonly JobView[];
    readonly next: number | null;
}

interface ListOptions extends PageOptions {
    readonly attributes?: Attributes | undefined;
    readonly fromMs?: number | undefined;
    readonly beforeMs?: number | undefined;
    readonly idPrefix?: string | undefined;
}

interface PageOptions extends Wait {
    readonly after?: number | undefined;
    readonly limit?: number | undefined;
}

class Queue {
    #private;
    readonly store: Store;
    readonly name: string;
    readonly partition: string;
    readonly op: QueueOps;
    constructor(store: Store, name: string, options?: QueueOptions);
    configure(rules: QueueRules, wait?: Wait): Promise<void>;
    add(job: JobInput, wait?: Wait): Promise<Enqueued>;
    addMany(jobs: readonly JobInput[], wait?: Wait): Promise<readonly Enqueued[]>;
    claim(session: Session, max: number, wait?: Wait): Promise<Claimed>;
    settle(session: Session, job: Receipt, settlement: Settlement, options?: SettleOptions): Promise<JobState>;
    progress(session: Session, job: Receipt, value: Data, wait?: Wait): Promise<void>;
    cancel(id: string, options?: Wait & {
        readonly reason?: string | undefined;
    }): Promise<Cancelled>;
    redrive(options?: BulkOptions & {
        readonly ids?: readonly string[] | undefined;
    }): Promise<number>;
    pause(wait?: Wait): Promise<void>;
    resume(wait?: Wait): Promise<void>;
    purge(state: Exclude<JobState, "leased">, options?: BulkOptions): Promise<number>;
    get(id: string, wait?: Wait): Promise<JobView | null>;
    get(ids: readonly string[], wait?: Wait): Promise<readonly (JobView | null)[]>;
    list(state: JobState, options?: ListOptions): Promise<JobList>;
    scan(state: JobState, options?: Omit<ListOptions, "after">): AsyncGenerator<JobView, void, void>;
    stats(wait?: Wait): Promise<QueueView>;
    changes(cursor: number, options?: Wait & {
        readonly limit?: number | undefined;
    }): Promise<QueueChanges>;
    onReady(listen: () => void): () => void;
    onDone(listen: () => void, onClose?: () => void): () => void;
    onCancel(listen: () => void): () => void;
}

interface QueueOps {
    configure(rules: QueueRules): Placed<QueueConfigure>;
    enqueue(job: JobInput): Placed<QueueEnqueue>;
    settle(session: Session, job: Receipt, settlement: Settlement): Placed<QueueSettle>;
    progress(session: Session, job: Receipt, value: Data): Placed<QueueProgress>;
    cancel(id: string, reason?: string): Placed<QueueCancel>;
    pause(isPaused: boolean): Placed<QueuePause>;
}

interface QueueOptions {
    readonly partition?: string | undefined;
    readonly isReserved?: boolean | undefined;
}

interface QueueRules extends Partial<Omit<QueueConfig, "rate">> {
    readonly rate?: RateInput | null | undefined;
}

interface RateInput {
    readonly count: number;
    readonly perMs: number;
    readonly burst?: number | undefined;
    readonly isPerKey?: boolean | undefined;
}

interface Receipt {
    readonly seq: number;
    readonly token: number;
}

interface SettleOptions extends Wait {
    readonly also?: readonly Placed[] | undefined;
}

type Settlement = {
    readonly outcome: "completed";
    readonly result?: Data | null | undefined;
} | {
    readonly outcome: "retry";
    readonly delayMs?: number | undefined;
    readonly holdsKey?: boolean | undefined;
    readonly error?: string | undefined;
} | {
    readonly outcome: "dead" | "cancelled";
    readonly error?: string | undefined;
} | {
    readonly outcome: "released";
    readonly isUnstarted?: boolean | undefined;
};

function listQueues(store: Store, options?: QueueOptions & Wait): Promise<readonly QueueView[]>;
