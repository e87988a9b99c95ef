/**
 * How many calls the payment service has begun and not answered: written to a small file of its own
 * at every change, so that it can be read when the service is dead.
 */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";

export class OpenCalls {
  readonly #file: number;
  readonly #bytes: Uint8Array = new Uint8Array(4);
  readonly #view: DataView = new DataView(this.#bytes.buffer);
  #count = 0;

  constructor(path: string) {
    this.#file = openSync(path, "w");
    this.#write(0);
  }
  begin(): void {
    this.#write(1);
  }
  end(): void {
    this.#write(-1);
  }
  close(): void {
    closeSync(this.#file);
  }

  #write(change: number): void {
    this.#count += change;
    this.#view.setUint32(0, this.#count);
    writeSync(this.#file, this.#bytes, 0, this.#bytes.length, 0);
  }
}

/** Calls that are open, or were when the service died. */
export function openCalls(path: string): number {
  try {
    const bytes = readFileSync(path);
    return bytes.length < 4 ? 0 : bytes.readUInt32BE(0);
  } catch {
    // It was not started yet.
    return 0;
  }
}

/** Where the note is kept: beside the database. */
export function openCallsPath(database: string): string {
  return `${database}.open`;
}
