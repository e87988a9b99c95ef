// holdfast/ports/runs

interface EventInput {
    readonly event: string;
    readonly data: Data;
    readonly id?: string | undefined;
    readonly isLenient?: boolean | undefined;
}

type Journal = RunPage;

interface JournalOptions extends Wait {
    readonly afterRecord?: number | undefined;
    readonly afterEvent?: number | undefined;
    readonly limit?: number | undefined;
}

const RUN_QUEUE = "$run/";

type RunInput = Omit<JobInput, "dedupe">;

class Runs {
    #private;
    readonly store: Store;
    readonly name: string;
    readonly partition: string;
    readonly queue: Queue;
    readonly op: RunsOps;
    constructor(store: Store, name: string, options?: Omit<QueueOptions, "isReserved">);
    start(run: RunInput, wait?: Wait): Promise<Enqueued>;
    record(session: Session, run: Receipt, after: number, records: readonly RecordInput[], options?: SettleOptions & {
        readonly isProgress?: boolean | undefined;
    }): Promise<RunState>;
    restart(session: Session, run: Receipt, renewal: Renewal, wait?: Wait): Promise<RunState>;
    suspend(session: Session, run: Receipt, suspension: Suspension, options?: SuspendOptions): Promise<JobState>;
    send(run: string, event: EventInput, wait?: Wait): Promise<Sent>;
    journal(seq: number, options?: JournalOptions): Promise<Journal | null>;
    onEvent(listen: () => void): () => void;
}

interface RunsOps {
    start(run: RunInput): Placed<QueueEnqueue>;
    record(session: Session, run: Receipt, after: number, records: readonly RecordInput[], mode?: RecordMode): Placed<RunsRecord>;
    restart(session: Session, run: Receipt, renewal: Renewal): Placed<RunsRestart>;
    send(run: string, event: EventInput): Placed<RunsSend>;
    suspend(session: Session, run: Receipt, suspension: Suspension): Placed<QueueSettle>;
}

interface SuspendOptions extends Wait {
    readonly also?: readonly Placed[] | undefined;
}

interface Suspension {
    readonly untilMs: number | null;
    readonly seen: number;
}
