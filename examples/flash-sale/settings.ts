/** What the sale and its processes say to each other. */

/** What a worker must know; it comes in the environment, as a URL may hold a password. */
export interface WorkerSettings {
  readonly url: string;
  readonly sessionTtlMs: number;
  /** Orders that it takes at once. */
  readonly concurrency: number;
  /** Where the payment service listens. */
  readonly paymentPort: number;
  /** How long a call of the payment service may take. */
  readonly paymentMs: number;
  /** How long an order waits for the customer's word. */
  readonly payWithinMs: number;
  /** True: what a step does and that it was done are two things; see `careless.ts`. */
  readonly isBroken: boolean;
  /** Where the worker dies by its own hand; see `crash-point.ts`. Null: nowhere. */
  readonly crash: CrashPlan | null;
}

/** Orders wait at the point; when all are there or have ended, the process dies. */
export interface CrashPlan {
  readonly point: string;
  /** All orders of the sale. */
  readonly orders: number;
}

/** What the payment service must know. */
export interface PaymentSettings {
  readonly path: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly seed: number;
  readonly bankMs: number;
  readonly lateMs: number;
}

/** Told by the payment service before it is ready. */
export interface PaymentPlace {
  readonly port: number;
  /** False: there were payments in its file. */
  readonly isNew: boolean;
}

/** Told by a worker: how many orders it is undoing now, or how many it takes into its death. */
export type WorkerNews = { readonly compensating: number } | { readonly dying: number };

/** The environment variables that hold the settings as JSON. */
export const SETTINGS_VARIABLE = "FLASH_SALE_WORKER";
export const PAYMENT_VARIABLE = "FLASH_SALE_PAYMENT";

/** Told to a process, which then ends what it holds and leaves. */
export const STOP = "stop";
/** Told by a process that is at work. */
export const READY = "ready";
