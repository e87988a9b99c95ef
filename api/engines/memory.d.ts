// holdfast/engines/memory

interface MemoryOptions {
    readonly clock?: Clock | undefined;
}

class MemoryState {
    #private;
    readonly tables: MemoryTables;
    readonly channels: Channels;
    readonly clock: StoreClock;
    constructor(options?: MemoryOptions);
    nowMs(): number;
    out<T>(data: T): T;
    import(partition: string, records: readonly ExportRecord[]): void;
    commit(given: readonly Group[]): readonly GroupResult[];
}

function memory(options?: MemoryOptions & {
    readonly state?: MemoryState | undefined;
}): StoreDriver;
