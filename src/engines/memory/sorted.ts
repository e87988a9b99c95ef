/** Ordered maps and sets of the memory engine, over a B+ tree. */
import BTreeModule from "sorted-btree";

/**
 * The part of the tree used here: the package's own types are of a CommonJS module and name its
 * class `default`.
 */
interface Tree<K, V> {
  readonly size: number;
  get(key: K): V | undefined;
  set(key: K, value: V): boolean;
  delete(key: K): boolean;
  minKey(): K | undefined;
  nextHigherPair(key: K | undefined): [K, V] | undefined;
  entries(from?: K): IterableIterator<[K, V]>;
}
type TreeClass = new <K, V>(entries: undefined, compare: (a: K, b: K) => number) => Tree<K, V>;

const BTree: TreeClass = ((BTreeModule as unknown as { default?: unknown }).default ??
  BTreeModule) as TreeClass;

export class SortedMap<K, V> {
  readonly #tree: Tree<K, V>;
  constructor(compare: (a: K, b: K) => number) {
    this.#tree = new BTree<K, V>(undefined, compare);
  }
  get size(): number {
    return this.#tree.size;
  }
  get(key: K): V | undefined {
    return this.#tree.get(key);
  }
  set(key: K, value: V): void {
    this.#tree.set(key, value);
  }
  delete(key: K): boolean {
    return this.#tree.delete(key);
  }
  first(): K | undefined {
    return this.#tree.minKey();
  }
  /** Values in order: from `from` on (inclusive; undefined: all). */
  *values(from?: K): Generator<V, void, void> {
    for (const [, value] of this.#tree.entries(from)) yield value;
  }
}

/** Rows by the instant at which they end. */
export class ExpiryIndex<R extends { readonly expiresMs: number | null }> {
  readonly #rows = new SortedMap<readonly [ms: number, no: number], R>(
    (a, b) => a[0] - b[0] || a[1] - b[1],
  );
  readonly #places = new Map<R, readonly [ms: number, no: number]>();
  #no = 0;

  add(row: R): void {
    if (row.expiresMs === null) return;
    const place = [row.expiresMs, this.#no++] as const;
    this.#places.set(row, place);
    this.#rows.set(place, row);
  }
  delete(row: R): void {
    const place = this.#places.get(row);
    if (place === undefined) return;
    this.#places.delete(row);
    this.#rows.delete(place);
  }
  /** Up to `limit` rows whose time is up, oldest first. */
  due(nowMs: number, limit: number): R[] {
    const due: R[] = [];
    for (const row of this.#rows.values()) {
      if (due.length >= limit || (row.expiresMs as number) > nowMs) break;
      due.push(row);
    }
    return due;
  }
}
