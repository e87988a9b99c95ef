/** Chance, as a seam: see `clock.ts`. */
import { randomBytes } from "node:crypto";

export interface Random {
  /** A number in [0, 1). */
  next(): number;
  /** A string of `chars` characters of [0-9a-z], each drawn evenly. */
  text(chars: number): string;
}

const ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz";
const POOL_BYTES = 4_096;
/** The greatest multiple of 36 in a byte: larger ones would favour the first letters. */
const EVEN = 252;

class HostRandom implements Random {
  /**
   * Characters that were drawn and not used. A slice of them takes a tenth of drawing one by one.
   */
  #pool = "";
  #at = 0;
  next(): number {
    return Math.random();
  }
  text(chars: number): string {
    while (this.#at + chars > this.#pool.length) {
      this.#pool = this.#pool.slice(this.#at) + drawn();
      this.#at = 0;
    }
    const text = this.#pool.slice(this.#at, this.#at + chars);
    this.#at += chars;
    return text;
  }
}

function drawn(): string {
  const bytes = randomBytes(POOL_BYTES);
  let size = 0;
  for (const byte of bytes) if (byte < EVEN) bytes[size++] = ALPHABET.charCodeAt(byte % 36);
  return bytes.toString("latin1", 0, size);
}

/** The host's randomness; `text` is fit for ids (5.17 bits a character, cryptographic source). */
export const systemRandom: Random = new HostRandom();

/** A repeatable source: sfc32 (Doty-Humphrey's small fast counter), seeded through splitmix32. */
export class SeededRandom implements Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    let state = seed >>> 0;
    const mix = (): number => {
      state = (state + 0x9e3779b9) >>> 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return (z ^ (z >>> 15)) >>> 0;
    };
    this.#a = mix();
    this.#b = mix() ^ Math.floor(seed / 0x1_0000_0000);
    this.#c = mix();
    for (let i = 0; i < 12; i++) this.next();
  }
  next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return (sum >>> 0) / 0x1_0000_0000;
  }
  text(chars: number): string {
    let text = "";
    for (let i = 0; i < chars; i++) text += ALPHABET[Math.floor(this.next() * 36)];
    return text;
  }
  /** An independent stream, so that one more draw here does not shift all the others. */
  split(): SeededRandom {
    return new SeededRandom(Math.floor(this.next() * 0x1_0000_0000));
  }
}

/**
 * An id whose text order is its time order: 9 characters of wall time in base 36, then 16 random
 * ones (82 bits).
 * Sorted ids keep the store's index appends local; they are not secret.
 */
export function newId(wallMs: number, random: Random): string {
  return wallMs.toString(36).padStart(9, "0") + random.text(16);
}
