import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { connect, Holdfast } from "./connect.ts";
import type { HoldfastError } from "./core/errors.ts";
import { shutdownSignal } from "./shutdown.ts";
import { opens, type Definition } from "./store/definition.ts";

const caught = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => error);

describe("connect", () => {
  test("opens memory, each time anew", async () => {
    await using a = await connect("memory:");
    await using b = await connect("memory:");
    await a.kv.put("k", 1);
    expect(await b.kv.get("k")).toBeNull();
    expect(await a.durability()).toMatchObject({ synced: "no" });
  });

  test("shares a named memory in the process, also after a close", async () => {
    const a = await connect("memory:connect-test");
    await using b = await connect("memory://connect-test");
    await a.kv.put("k", 1);
    expect((await b.kv.get("k"))?.value).toBe(1);
    await a.close();
    await using c = await connect("memory:connect-test");
    expect((await c.kv.get("k"))?.value).toBe(1);
    await using other = await connect("memory:connect-test", { namespace: "other" });
    expect(await other.kv.get("k")).toBeNull();
  });

  test("opens sqlite by path, with the parameters of the URL", async () => {
    const folder = await mkdtemp(join(tmpdir(), "holdfast-connect-"));
    const url = `sqlite:${folder}/a%20file.db`;
    try {
      const hf = await connect(url);
      await hf.kv.put("k", 1);
      expect(await hf.durability()).toMatchObject({ synced: "yes" });
      await hf.close();
      expect(await readdir(folder)).toContain("a file.db");
      await using again = await connect(`${url}?mode=ro`);
      expect((await again.kv.get("k"))?.value).toBe(1);
      expect(await caught(again.kv.put("k", 2))).toMatchObject({ outcome: "not-applied" });
      expect(await caught(connect(`${url}?colour=red`))).toMatchObject({ code: "MISCONFIGURED" });
      await using unsynced = await connect(url, { allow: "unsynced" });
      expect((await unsynced.durability()).synced).not.toBe("yes");
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test.each([
    "postgres://ann:s3cret@db/app",
    "http://ann:s3cret@x",
    "Redis://:s3cret@x",
    "constructor:s3cret",
  ])(
    "an unknown scheme is MISCONFIGURED, names what exists, and prints no more of the URL",
    async (url) => {
      const error = (await caught(connect(url))) as HoldfastError;
      expect(error).toMatchObject({
        code: "MISCONFIGURED",
        details: { known: ["memory", "sqlite"] },
      });
      expect(error.message).toContain("sqlite:");
      expect(JSON.stringify(error.details) + error.message).not.toContain("s3cret");
      expect(error.message).not.toContain("ann");
    },
  );

  test.each(["", "app.db", "./s3cret.db", "//s3cret@x"])(
    "text without a scheme (%j) is MISCONFIGURED",
    async (url) => {
      const error = (await caught(connect(url))) as HoldfastError;
      expect(error).toMatchObject({ code: "MISCONFIGURED", outcome: "not-applied" });
      expect(error.message).not.toContain("s3cret");
    },
  );

  test("a path, parameters and escapes that make no sense are MISCONFIGURED", async () => {
    for (const url of ["sqlite:", "sqlite:?mode=ro", "memory:x?mode=ro", "memory:%zz"]) {
      expect(await caught(connect(url))).toMatchObject({ code: "MISCONFIGURED" });
    }
  });

  test("several stores by port are UNSUPPORTED; the same one is not", async () => {
    const error = await caught(connect({ default: "memory:", limit: "redis://ann:s3cret@x" }));
    expect(error).toMatchObject({ code: "UNSUPPORTED", details: { port: "limit" } });
    expect((error as Error).message).not.toContain("s3cret");
    await using hf = await connect({ default: "memory:", kv: "memory:" });
    expect(hf).toBeInstanceOf(Holdfast);
  });

  test("wrong arguments are TypeErrors or RangeErrors", async () => {
    expect(await caught(connect(7 as never))).toBeInstanceOf(TypeError);
    expect(await caught(connect({} as never))).toBeInstanceOf(TypeError);
    expect(await caught(connect("memory:", { namspace: "x" } as never))).toBeInstanceOf(TypeError);
    expect(await caught(connect("memory:", { namespace: "a/b" }))).toBeInstanceOf(RangeError);
    expect(await caught(connect("memory:", { drainMs: -1 }))).toBeInstanceOf(RangeError);
    expect(await caught(connect("memory:", { sessionTtlMs: 1 }))).toBeInstanceOf(RangeError);
    expect(await caught(connect("memory:", { allow: "all" as never }))).toBeInstanceOf(RangeError);
  });

  test("an aborted signal ends it with its reason", async () => {
    expect(await caught(connect("memory:", { signal: AbortSignal.abort("no") }))).toBe("no");
    const controller = new AbortController();
    const connecting = caught(connect("memory:", { signal: controller.signal }));
    controller.abort("enough");
    expect(await connecting).toBe("enough");
  });
});

describe("a Holdfast", () => {
  test("opens definitions, once each", async () => {
    await using hf = await connect("memory:");
    const definition: Definition<{ readonly name: string }> = {
      name: "thing",
      [opens]: (store) => ({ name: store.namespace }),
    };
    expect(hf.open(definition)).toBe(hf.open(definition));
    expect(hf.open(definition).name).toBe("default");
  });

  test("commits ops of several ports as one group, or throws what refused it", async () => {
    await using hf = await connect("memory:");
    const queue = hf.queue("mail");
    const { results } = await hf.commit([hf.kv.op.add("n", 2), queue.op.enqueue({ payload: "x" })]);
    expect(results[0]).toBe(2);
    expect(results[1].status).toBe("added");
    const group = [queue.op.enqueue({ payload: "y" }), hf.kv.op.add("n", -3, { min: 0 })] as const;
    expect(await caught(hf.commit(group))).toMatchObject({
      code: "LIMITED",
      outcome: "not-applied",
    });
    expect(await hf.tryCommit(group)).toMatchObject({ ok: false, refusal: { index: 1 } });
    expect((await queue.stats()).counts.ready).toBe(1);
  });

  test("after its close everything is CLOSED", async () => {
    const hf = await connect("memory:");
    await hf.close();
    await hf.close();
    expect(await caught(hf.kv.put("k", 1))).toMatchObject({
      code: "CLOSED",
      outcome: "not-applied",
    });
    expect(await caught(hf.kv.get("k"))).toMatchObject({ code: "CLOSED" });
    expect(await caught(hf.bus.publish("t", 1))).toMatchObject({ code: "CLOSED" });
    expect(() => hf.bus.subscribe("t")).toThrow(expect.objectContaining({ code: "CLOSED" }));
  });
});

describe("shutdownSignal", () => {
  test("aborts at the first signal, and then listens no more", () => {
    const before = process.listenerCount("SIGUSR2");
    const signal = shutdownSignal("SIGUSR2");
    expect(shutdownSignal("SIGUSR2")).toBe(signal);
    expect(process.listenerCount("SIGUSR2")).toBe(before + 1);
    process.emit("SIGUSR2", "SIGUSR2");
    expect(signal.aborted).toBe(true);
    expect(signal.reason).toMatchObject({ code: "CLOSED", details: { signal: "SIGUSR2" } });
    expect(process.listenerCount("SIGUSR2")).toBe(before);
  });
});
