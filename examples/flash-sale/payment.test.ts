import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openPayments } from "./audit-read.ts";
import { Bank, BankSilent } from "./bank.ts";
import { PaymentBook } from "./payment-book.ts";
import type { PaymentCall } from "./payment-book.ts";
import { PaymentDesk } from "./payment-desk.ts";
import { chargeFault, isAnswerLost } from "./payment-faults.ts";
import type { ChargeFault } from "./payment-faults.ts";
import { OpenCalls, openCalls, openCallsPath } from "./payment-open.ts";
import { PaymentService, PaymentsExistError } from "./payment.ts";

const SEED = 1;
let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "payment-test-"));
  path = join(folder, "payments.db");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A key that ails so. */
function keyThat(fault: ChargeFault): string {
  for (let no = 1; ; no++) {
    const key = `key-${no}`;
    if (chargeFault(SEED, key) === fault && !isAnswerLost(SEED, key)) return key;
  }
}

function rows(): { readonly charges: number[]; readonly refunds: number[]; readonly late: number } {
  const payments = openPayments(path);
  try {
    return {
      charges: [...payments.charges()].map(({ pence }) => pence),
      refunds: [...payments.refunds()].map(({ pence }) => pence),
      late: payments.lateCharges(),
    };
  } finally {
    payments.close();
  }
}

describe("the payment service's book", () => {
  let book: PaymentBook;
  beforeEach(() => {
    book = new PaymentBook(path);
  });
  afterEach(() => book.close());

  const settle = (...calls: PaymentCall[]): readonly string[] => book.settle(calls, () => false);
  const charge = { kind: "charge", key: "a", order: "1", pence: 5 } as const;
  const refund = { kind: "refund", key: "a", order: "1" } as const;
  const credit = { kind: "credit", key: "c", order: "C1", pence: 7 } as const;

  test("a call holds once under its key", () => {
    expect(book.isNew).toBe(true);
    expect(settle(charge, charge)).toEqual(["charged", "charged"]);
    expect(settle(charge, refund, refund)).toEqual(["charged", "refunded", "refunded"]);
    expect(settle(credit, credit)).toEqual(["credited", "credited"]);
    expect(book.isNew).toBe(false);
    expect(rows()).toEqual({ charges: [5], refunds: [5], late: 0 });
  });

  test("a refund of a charge that never came makes the key void: it is refused when it comes", () => {
    expect(settle(refund, charge, charge, refund)).toEqual([
      "voided",
      "voided",
      "voided",
      "voided",
    ]);
    expect(rows()).toEqual({ charges: [], refunds: [0], late: 1 });
  });

  test("a declined charge stays declined, and has nothing to refund", () => {
    expect(book.settle([charge], () => true)).toEqual(["declined"]);
    expect(settle(charge, refund)).toEqual(["declined", "voided"]);
    expect(rows()).toEqual({ charges: [], refunds: [0], late: 0 });
  });

  test.each([
    { ...charge, pence: 6 },
    { ...charge, order: "2" },
    { ...refund, order: "2" },
    { ...credit, pence: 8 },
  ])("another call under the key is refused: %j", (other) => {
    settle(charge, credit);
    expect(settle(other)).toEqual(["mismatch"]);
    expect(rows().charges).toEqual([5]);
  });
});

describe("how it ails", () => {
  const faults = Array.from({ length: 20_000 }, (_, no) => chargeFault(SEED, `key-${no}`));
  const share = (...those: ChargeFault[]): number =>
    faults.filter((fault) => those.includes(fault)).length / faults.length;

  test("5 % are declined, 2 % are silent in four ways", () => {
    expect(share("declined")).toBeCloseTo(0.05, 2);
    expect(share("lost", "dropped", "mute", "late")).toBeCloseTo(0.02, 2);
    for (const fault of ["lost", "dropped", "mute", "late"] as const) {
      expect(share(fault)).toBeGreaterThan(0.002);
    }
  });

  test("by its seed, always the same", () => {
    const again = Array.from({ length: 100 }, (_, no) => chargeFault(SEED, `key-${no}`));
    expect(again).toEqual(faults.slice(0, 100));
    const other = Array.from({ length: 1_000 }, (_, no) => chargeFault(2, `key-${no}`));
    expect(other).not.toEqual(faults.slice(0, 1_000));
  });

  test("a charge that comes after its refund is refused, however long it was on its way", async () => {
    const book = new PaymentBook(path);
    const desk = new PaymentDesk(book, { seed: SEED, bankMs: 0, lateMs: 60_000 });
    const key = keyThat("late");
    expect(await desk.take({ kind: "charge", key, order: "1", pence: 5 })).toBeNull();
    expect(await desk.take({ kind: "charge", key, order: "1", pence: 5 })).toBeNull();
    expect(await desk.take({ kind: "refund", key, order: "1" })).toBe("voided");
    await desk.close();
    book.close();
    expect(rows()).toEqual({ charges: [], refunds: [0], late: 1 });
  });

  test("calls that come together are one transaction", async () => {
    const book = new PaymentBook(path);
    const batches: number[] = [];
    const counting = {
      settle: (...args: Parameters<PaymentBook["settle"]>) => {
        batches.push(args[0].length);
        return book.settle(...args);
      },
    } as PaymentBook;
    const desk = new PaymentDesk(counting, { seed: SEED, bankMs: 0, lateMs: 60_000 });
    const keys = Array.from({ length: 200 }, (_, no) => `together-${no}`);
    const calls = keys.filter((key) => chargeFault(SEED, key) === "none");
    await Promise.all(calls.map((key) => desk.take({ kind: "charge", key, order: key, pence: 1 })));
    await desk.close();
    book.close();
    expect(rows().charges).toHaveLength(calls.length);
    expect(batches.length).toBeLessThan(calls.length / 10);
  });
});

describe("its note of open calls", () => {
  test("says how many there were, after its writer's death too", () => {
    const note = openCallsPath(path);
    expect(openCalls(note)).toBe(0);
    const open = new OpenCalls(note);
    open.begin();
    open.begin();
    open.end();
    expect(openCalls(note)).toBe(1);
    open.close();
    expect(openCalls(note)).toBe(1);
  });
});

describe("its process", () => {
  const call = { attempt: 1, signal: new AbortController().signal };
  let service: PaymentService;
  beforeEach(async () => {
    const times = { bankMs: 0, lateMs: 60_000 };
    service = new PaymentService({ path, seed: SEED, ...times, onEvent: () => {} });
    await service.start();
  });
  afterEach(() => service.processes.stop());

  test("is back on its file and port after kill -9, and knows what it has done", async () => {
    const bank = new Bank({ port: service.port, timeoutMs: 5_000 });
    const sum = { key: keyThat("none"), order: "1", pence: 5 };
    expect(await bank.charge(sum, call)).toBe("charged");
    const [pid = 0] = service.processes.pids;
    await service.processes.kill(pid);
    // Nobody is there, until somebody is.
    let isSilent = false;
    await expect
      .poll(async () => bank.charge(sum, call).catch((error: unknown) => (isSilent = is(error))))
      .toBe("charged");
    expect(isSilent).toBe(true);
    expect(service.processes.restarts).toBe(1);
    expect(service.processes.pids).not.toContain(pid);
    await expect(bank.charge({ ...sum, pence: 6 }, call)).rejects.toThrow("409");
    expect(await bank.refund(sum, call)).toBe("refunded");
    bank.close();
    await service.processes.stop();
    expect(rows()).toEqual({ charges: [5], refunds: [5], late: 0 });
  });

  test("a silence is a failure at once, and a final one at the third attempt", async () => {
    const bank = new Bank({ port: service.port, timeoutMs: 50 });
    const sum = { key: keyThat("mute"), order: "1", pence: 5 };
    await expect(bank.charge(sum, call)).rejects.toThrow(BankSilent);
    await expect(bank.charge(sum, { ...call, attempt: 3 })).rejects.toMatchObject({
      cause: { name: "BankSilent", isTimeout: true },
    });
    bank.close();
  });

  test("what it can't read it refuses", async () => {
    const url = `http://127.0.0.1:${service.port}/charge`;
    for (const body of ["{", "[]", '{"key":"a","order":"1"}', '{"key":1,"order":"1","pence":2}']) {
      expect((await fetch(url, { method: "POST", body })).status).toBe(400);
    }
    expect((await fetch(url)).status).toBe(400);
  });

  test("a file with payments of another sale is not taken", async () => {
    const bank = new Bank({ port: service.port, timeoutMs: 5_000 });
    await bank.credit({ key: keyThat("none"), order: "C1", pence: 5 }, call);
    bank.close();
    await service.processes.stop();
    const options = { path, seed: SEED, bankMs: 0, lateMs: 60_000, onEvent: (): void => {} };
    const second = new PaymentService(options);
    await expect(second.start()).rejects.toThrow(PaymentsExistError);
    await second.processes.stop();
  });
});

function is(error: unknown): boolean {
  return error instanceof BankSilent && !error.isTimeout;
}
