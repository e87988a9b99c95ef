/** What the sale and its workers say to each other. */

/** What a worker must know; it comes in the environment, as a URL may hold a password. */
export interface WorkerSettings {
  readonly url: string;
  readonly sessionTtlMs: number;
  /** Orders that it takes at once. */
  readonly concurrency: number;
  /** How long the price check of an order takes at least. */
  readonly checkMs: number;
  /** True: effects and completion are two commits; see `takeOrderCarelessly`. */
  readonly isBroken: boolean;
}

/** The environment variable that holds the settings as JSON. */
export const SETTINGS_VARIABLE = "FLASH_SALE_WORKER";

/** Told to a worker, which then ends what it holds and leaves. */
export const STOP = "stop";
/** Told by a worker that takes orders. */
export const READY = "ready";
