/** `holdfast/ports/kv`: the key-value port. Its guarantees: README.md beside this file. */
export { Kv } from "./kv.ts";
export type {
  KvChangeOf,
  KvChangesOf,
  KvList,
  KvOps,
  KvOptions,
  KvValue,
  ListOptions,
  TryAdd,
  TryDelete,
  TryPut,
  WatchOptions,
  Written,
} from "./kv.ts";
export type { AddOptions, PutOptions } from "./ops.ts";
