// holdfast/ports/kv

interface AddOptions {
    readonly min?: number | undefined;
    readonly max?: number | undefined;
}

class Kv<V = unknown> {
    #private;
    readonly store: Store;
    readonly partitionName: string;
    readonly op: KvOps<V>;
    constructor(store: Store, options?: KvOptions<V>);
    partition(name: string): Kv<V>;
    decode(entry: KvEntry): KvValue<V>;
    decode(entry: KvEntry | null): KvValue<V> | null;
    get(key: string, wait?: Wait): Promise<KvValue<V> | null>;
    get(keys: readonly string[], wait?: Wait): Promise<readonly (KvValue<V> | null)[]>;
    list(prefix?: string, options?: ListOptions): Promise<KvList<V>>;
    scan(prefix?: string, options?: Omit<ListOptions, "after">): AsyncGenerator<KvValue<V>, void, void>;
    watch(prefix?: string, options?: WatchOptions): AsyncGenerator<KvChangesOf<V>, void, void>;
    put(key: string, value: V, options?: PutOptions & Wait): Promise<Written>;
    tryPut(key: string, value: V, options: PutOptions & Wait & {
        readonly ifRevision: number;
    }): Promise<TryPut>;
    delete(key: string, wait?: Wait): Promise<boolean>;
    tryDelete(key: string, options: Wait & {
        readonly ifRevision: number;
    }): Promise<TryDelete>;
    add(key: string, delta: number, options?: AddOptions & Wait): Promise<number>;
    tryAdd(key: string, delta: number, options?: AddOptions & Wait): Promise<TryAdd>;
}

type KvChangeOf<V> = {
    readonly type: "put";
    readonly key: string;
    readonly value: V;
    readonly revision: number;
} | {
    readonly type: "delete";
    readonly key: string;
    readonly revision: number;
};

interface KvChangesOf<V> {
    readonly changes: readonly KvChangeOf<V>[];
    readonly cursor: number;
    readonly isResync: boolean;
}

interface KvList<V> {
    readonly entries: readonly KvValue<V>[];
    readonly revision: number;
    readonly next: string | null;
}

interface KvOps<V> {
    check(key: string, revision: number): Placed<KvCheck>;
    put(key: string, value: V, options?: PutOptions): Placed<KvPut>;
    delete(key: string): Placed<KvDelete>;
    add(key: string, delta: number, options?: AddOptions): Placed<KvAdd>;
    get(key: string): Placed<KvGet>;
}

interface KvOptions<V> {
    readonly partition?: string | undefined;
    readonly codec?: Codec | undefined;
    readonly schema?: Schema<unknown, V> | undefined;
    readonly hasReserved?: boolean | undefined;
}

interface KvValue<V> {
    readonly key: string;
    readonly value: V;
    readonly revision: number;
}

interface ListOptions extends Wait {
    readonly after?: string | undefined;
    readonly limit?: number | undefined;
}

interface PutOptions {
    readonly ttlMs?: number | undefined;
    readonly session?: Session | undefined;
}

type TryAdd = {
    readonly ok: true;
    readonly value: number;
    readonly revision: number;
} | {
    readonly ok: false;
    readonly value: number;
};

type TryDelete = {
    readonly ok: true;
    readonly existed: boolean;
} | {
    readonly ok: false;
    readonly revision: number;
};

type TryPut = ({
    readonly ok: true;
} & Written) | {
    readonly ok: false;
    readonly revision: number;
};

interface WatchOptions {
    readonly signal?: AbortSignal | undefined;
    readonly cursor?: number | undefined;
    readonly buffer?: number | undefined;
}

interface Written {
    readonly revision: number;
    readonly ttlMs: number | undefined;
}
