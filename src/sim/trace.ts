/**
 * What happened, kept in two forms: a rolling hash over all of it, which two runs of one seed must
 * share to the last event, and the last lines as text for people. Lines are put into words only
 * when they are printed.
 */

/** One event of the world. `detail` is asked only if the line is printed. */
export interface Traced {
  readonly timeMs: number;
  /** The instance it happened to; empty: the store or the world. */
  readonly node: string;
  readonly kind: string;
  readonly label: string;
  readonly detail?: (() => string) | undefined;
}

const LINES_KEPT = 512;
const NODE_CHARS = 10;
const KIND_CHARS = 9;

export class Trace {
  #a = 0x9e3779b9;
  #b = 0x85ebca6b;
  #count = 0;
  readonly #texts = new Map<string, number>();
  readonly #lines: Traced[] = [];
  readonly #words = new DataView(new ArrayBuffer(8));

  /**
   * Adds an event to the hash; `draws` is how many random numbers the whole world has drawn so far.
   */
  add(event: Traced, draws: number): void {
    this.#words.setFloat64(0, event.timeMs);
    this.#mix(this.#words.getInt32(0));
    this.#mix(this.#words.getInt32(4));
    this.#mix(this.#text(event.node));
    this.#mix(this.#text(event.kind));
    this.#mix(this.#text(event.label));
    this.#mix(draws);
    this.#count++;
    this.note(event);
  }

  /** Keeps a line for people that is no event of its own. */
  note(line: Traced): void {
    // A ring: its oldest place is overwritten, and `lines` turns it round.
    if (this.#lines.length < LINES_KEPT) this.#lines.push(line);
    else this.#lines[this.#oldest] = line;
    this.#oldest = (this.#oldest + 1) % LINES_KEPT;
  }
  #oldest = 0;

  get count(): number {
    return this.#count;
  }

  /** 16 hexadecimal digits: equal for equal histories. */
  get hash(): string {
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
    return hex(this.#a) + hex(this.#b);
  }

  /** The last lines, oldest first: time, instance, kind, what. */
  lines(max: number): string[] {
    const isFull = this.#lines.length === LINES_KEPT;
    const start = isFull ? this.#oldest : 0;
    const all = [...this.#lines.slice(start), ...this.#lines.slice(0, start)];
    return all.slice(-max).map(({ timeMs, node, kind, label, detail }) => {
      const when = timeMs.toFixed(3).padStart(12);
      const who = (node === "" ? "·" : node).padEnd(NODE_CHARS);
      const what = detail === undefined ? label : `${label} ${detail()}`;
      return `${when} ms  ${who} ${kind.padEnd(KIND_CHARS)} ${what}`;
    });
  }

  /** MurmurHash3's block step on two lanes of different seeds. */
  #mix(word: number): void {
    const k = Math.imul(word, 0xcc9e2d51);
    const turned = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
    const a = this.#a ^ turned;
    this.#a = (Math.imul((a << 13) | (a >>> 19), 5) + 0xe6546b64) | 0;
    const b = this.#b ^ word;
    this.#b = (Math.imul((b << 17) | (b >>> 15), 0x2545f491) + 0x27220a95) | 0;
  }

  /** Texts repeat: each is hashed once (FNV-1a). */
  #text(text: string): number {
    let hash = this.#texts.get(text);
    if (hash !== undefined) return hash;
    hash = 0x811c9dc5;
    for (let i = 0; i < text.length; i++) {
      hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    }
    this.#texts.set(text, hash);
    return hash;
  }
}
