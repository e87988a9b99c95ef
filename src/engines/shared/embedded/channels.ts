/** Who listens to what, within one open store. */
import type { Data } from "../../../core/codec.ts";
import type { Channel } from "../../../store/driver.ts";

type Listen = (message: Data | null) => void;

function nameOf(channel: Channel): string {
  return `${channel.kind}\n${channel.partition}\n${channel.name}`;
}

export class Channels {
  readonly #listeners = new Map<string, { readonly channel: Channel; readonly set: Set<Listen> }>();
  readonly #changed = new Set<() => void>();

  subscribe(channel: Channel, listen: Listen): () => void {
    const name = nameOf(channel);
    let entry = this.#listeners.get(name);
    if (entry === undefined) {
      entry = { channel, set: new Set() };
      this.#listeners.set(name, entry);
    }
    const { set } = entry;
    // A listener of its own for each call: the same function may listen twice.
    const own: Listen = (message) => listen(message);
    set.add(own);
    return () => {
      set.delete(own);
      if (set.size === 0 && this.#listeners.get(name)?.set === set) this.#listeners.delete(name);
    };
  }

  /** Calls on every commit that changed something. */
  onChange(listen: () => void): () => void {
    const own = (): void => listen();
    this.#changed.add(own);
    return () => void this.#changed.delete(own);
  }

  /** True while anybody could be woken. */
  get isWatched(): boolean {
    return this.#listeners.size > 0 || this.#changed.size > 0;
  }

  /** True while anybody listens for messages. */
  get hasBus(): boolean {
    for (const { channel } of this.#listeners.values()) if (channel.kind === "bus") return true;
    return false;
  }

  emit(channel: Channel, message: Data | null): void {
    const entry = this.#listeners.get(nameOf(channel));
    if (entry === undefined) return;
    for (const listen of [...entry.set]) listen(message);
  }

  emitChange(): void {
    for (const listen of [...this.#changed]) listen();
  }

  /**
   * Something changed and nobody knows what: a hint to all; those who wait for messages learn
   * nothing new by it.
   */
  emitAll(): void {
    for (const { channel, set } of [...this.#listeners.values()]) {
      if (channel.kind === "bus") continue;
      for (const listen of [...set]) listen(null);
    }
    this.emitChange();
  }
}
