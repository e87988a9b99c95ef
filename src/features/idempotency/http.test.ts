/**
 * The middleware, in each framework, over loopback. The store's clock stands unless a test moves
 * it.
 */
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { turns, World, type Process } from "../../../test/kit/jobs.ts";
import {
  arrives,
  frameworks,
  type Route,
  type Shop,
  type ShopOptions,
} from "../../../test/kit/shops.ts";
import { deferred } from "../../core/signal.ts";
import { Kv } from "../../ports/kv/index.ts";
import { idempotency } from "./definition.ts";
import { honoIdempotency } from "./hono.ts";
import { parseKey, scopedKey } from "./http.ts";
import type { Idempotency } from "./idempotency.ts";

const requests = idempotency("requests", { ttlMs: 60_000 });
const SESSION_MS = 2_000;
const LIMIT = 4_096;

let world: World;
let one: Process;
let shops: Shop[];
let kv: Kv;
let runs: number;
let gate: Promise<unknown> | undefined;
beforeEach(async () => {
  world = new World();
  one = await world.process({ sessionTtlMs: SESSION_MS });
  kv = new Kv(one.store);
  shops = [];
  runs = 0;
  gate = undefined;
});
afterEach(async () => {
  await Promise.all(shops.map((shop) => shop.close()));
  await world.close();
});

async function* pieces(count: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < count; i++) yield Buffer.from(`piece ${i};`);
}

const route: Route = async ({ path, input, attempt }) => {
  runs++;
  await gate;
  const status = Number(/^\/status\/(\d+)/.exec(path)?.[1] ?? 201);
  const json = { "content-type": "application/json" };
  switch (path) {
    case "/throw":
      throw new Error("a fault of the handler");
    case "/complete": {
      const answer = { status: 201, headers: { location: "/c/1" }, body: { id: runs } };
      const done = await attempt?.tryComplete(answer, [kv.op.add("stock", -1, { min: 0 })]);
      return done?.ok === false
        ? { status: 409, headers: json, body: "{}" }
        : { status: 500, headers: json, body: '{"ignored":true}' };
    }
    case "/bytes":
      return { status, body: Uint8Array.from({ length: 256 }, (_, i) => i) };
    case "/stream":
      return { status, headers: { "content-type": "text/plain" }, body: pieces(5) };
    case "/endless":
      return { status, body: pieces(Number.MAX_SAFE_INTEGER) };
    case "/long":
      return { status, body: "x".repeat(LIMIT + 1) };
    case "/empty":
      return { status: 204 };
    default: {
      const headers = { ...json, location: `/c/${runs}`, "set-cookie": "a=1", "x-run": `${runs}` };
      return { status, headers, body: JSON.stringify({ id: runs, input }) };
    }
  }
};

interface Got {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
  readonly json: unknown;
}

async function post(
  url: string,
  {
    key,
    body = { cents: 500 },
    method = "POST",
    headers = {},
  }: {
    readonly key?: string | undefined;
    readonly body?: unknown;
    readonly method?: string;
    readonly headers?: Readonly<Record<string, string>>;
  } = {},
): Promise<Got> {
  const response = await fetch(url, {
    method,
    headers: {
      "content-type": "application/json",
      ...(key === undefined ? {} : { "idempotency-key": key }),
      ...headers,
    },
    ...(method === "GET" ? {} : { body: JSON.stringify(body) }),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const isJson = /json/.test(response.headers.get("content-type") ?? "");
  const json: unknown = isJson && bytes.length > 0 ? JSON.parse(bytes.toString()) : undefined;
  return { status: response.status, headers: response.headers, body: bytes, json };
}

const callsOf = (process: Process): Idempotency => process.store.handle(requests);

describe.each(Object.entries(frameworks))("%s", (_, start) => {
  async function shop(options: ShopOptions = {}, process: Process = one): Promise<string> {
    const made = await start(callsOf(process), route, { maxBodyBytes: LIMIT, ...options });
    shops.push(made);
    return made.url;
  }

  test("a repeat gets the stored status, headers and body, and its handler does not run", async () => {
    const url = await shop();
    const first = await post(`${url}/charge`, { key: "k" });
    expect(first).toMatchObject({ status: 201, json: { id: 1, input: { cents: 500 } } });
    expect(first.headers.get("idempotent-replayed")).toBe(null);
    expect(first.headers.get("set-cookie")).toBe("a=1");
    const again = await post(`${url}/charge`, { key: '"k"' });
    expect(again).toMatchObject({ status: 201, json: first.json });
    expect(again.headers.get("location")).toBe("/c/1");
    expect(again.headers.get("content-type")).toBe(first.headers.get("content-type"));
    expect(again.headers.get("content-length")).toBe(String(first.body.length));
    expect(again.headers.get("idempotent-replayed")).toBe("true");
    expect(again.headers.get("set-cookie")).toBe(null);
    expect(again.headers.get("x-run")).toBe(null);
    expect(runs).toBe(1);
    const stored = JSON.stringify(await callsOf(one).get("k"));
    expect(stored).not.toMatch(/cookie|x-run/);
  });

  test("other methods pass, and so does a request without a key", async () => {
    const url = await shop();
    for (let i = 1; i <= 2; i++) await post(`${url}/charge`, { key: "k", method: "PUT" });
    for (let i = 1; i <= 2; i++) await post(`${url}/charge`);
    expect((await post(`${url}/charge`, { key: "k", method: "GET" })).status).toBe(201);
    expect(runs).toBe(5);
    await post(`${url}/charge`, { key: "k", method: "PATCH" });
    expect((await post(`${url}/charge`, { key: "k", method: "PATCH" })).json).toMatchObject({
      id: 6,
    });
  });

  test("a key that is missing where it is required, or malformed, is answered 400", async () => {
    const url = await shop({ isRequired: true });
    const missing = await post(`${url}/charge`);
    expect(missing).toMatchObject({ status: 400, json: { title: "Idempotency key missing" } });
    expect(missing.headers.get("content-type")).toBe("application/problem+json");
    for (const key of ['"open', "two keys", "x".repeat(201), '""', " ", "a, b"]) {
      expect(await post(`${url}/charge`, { key })).toMatchObject({ status: 400 });
    }
    expect(runs).toBe(0);
  });

  test("another request under the key is answered 422: another body, path, query or method", async () => {
    const url = await shop();
    await post(`${url}/charge`, { key: "k" });
    for (const other of [
      post(`${url}/charge`, { key: "k", body: { cents: 501 } }),
      post(`${url}/refund`, { key: "k" }),
      post(`${url}/charge?twice=1`, { key: "k" }),
      post(`${url}/charge`, { key: "k", method: "PATCH" }),
    ]) {
      expect(await other).toMatchObject({ status: 422, json: { code: "ALREADY_EXISTS" } });
    }
    expect(runs).toBe(1);
  });

  test("a duplicate in flight waits, and all get an equal answer of one run", async () => {
    const url = await shop();
    const opened = deferred();
    gate = opened.promise;
    const all = Array.from({ length: 20 }, () => post(`${url}/charge`, { key: "k" }));
    await arrives(() => runs === 1);
    await turns(20);
    opened.resolve(undefined);
    const got = await Promise.all(all);
    expect(got.filter(({ headers }) => headers.has("idempotent-replayed"))).toHaveLength(19);
    for (const { status, json } of got)
      expect({ status, json }).toMatchObject({ status: 201, json: { id: 1 } });
    expect(runs).toBe(1);
  });

  test("a duplicate in flight is answered 409 with Retry-After where it is refused, or after timeoutMs", async () => {
    const refusing = await shop({ inFlight: "refuse" });
    const waiting = await shop({ timeoutMs: 500 });
    const opened = deferred();
    gate = opened.promise;
    const first = post(`${refusing}/charge`, { key: "k" });
    await arrives(() => runs === 1);
    const refused = await post(`${refusing}/charge`, { key: "k" });
    expect(refused).toMatchObject({ status: 409, json: { code: "CONFLICT" } });
    expect(refused.headers.get("retry-after")).toBe("1");
    const late = post(`${waiting}/charge`, { key: "k" });
    // It waits once its claim was refused.
    await arrives(() => one.ops("kv.check").length === 3);
    await turns();
    await world.clock.advance(500);
    expect(await late).toMatchObject({ status: 409 });
    opened.resolve(undefined);
    expect(await first).toMatchObject({ status: 201 });
  });

  test("keys of two scopes are two keys", async () => {
    const url = await shop({ isScoped: true });
    const ann = await post(`${url}/charge`, { key: "k", headers: { "x-user": "ann" } });
    const bob = await post(`${url}/charge`, { key: "k", headers: { "x-user": "bob" } });
    expect([ann.json, bob.json]).toMatchObject([{ id: 1 }, { id: 2 }]);
    expect(await callsOf(one).forget(scopedKey("ann", "k"))).toBe(true);
    expect(await callsOf(one).get(scopedKey("bob", "k"))).toMatchObject({ state: "answered" });
    expect(await callsOf(one).get("k")).toBe(null);
  });

  test("a failure of the server is not stored: the next request runs again", async () => {
    const url = await shop();
    for (const path of ["/status/500", "/status/503", "/status/429", "/throw"]) {
      const before = runs;
      const first = await post(url + path, { key: path });
      const again = await post(url + path, { key: path });
      expect(again.status).toBe(first.status);
      expect(runs).toBe(before + 2);
      expect(await callsOf(one).get(path)).toBe(null);
    }
    const refused = await post(`${url}/status/404`, { key: "k" });
    expect(await post(`${url}/status/404`, { key: "k" })).toMatchObject({ json: refused.json });
  });

  test("a failure of the server is stored where isStored says so", async () => {
    const url = await shop({ isStored: () => true });
    const first = await post(`${url}/status/500`, { key: "k" });
    expect(await post(`${url}/status/500`, { key: "k" })).toMatchObject({
      ...{ status: 500, json: first.json },
    });
    expect(runs).toBe(1);
  });

  test("an answer is forgotten after ttlMs", async () => {
    const url = await shop();
    await post(`${url}/charge`, { key: "k" });
    await world.clock.advance(60_000);
    expect(await post(`${url}/charge`, { key: "k" })).toMatchObject({ json: { id: 2 } });
  });

  test("bodies of bytes, in pieces, and none at all come back as they were", async () => {
    const url = await shop();
    for (const path of ["/bytes", "/stream", "/empty"]) {
      const first = await post(url + path, { key: path });
      const again = await post(url + path, { key: path });
      expect(again.headers.get("idempotent-replayed")).toBe("true");
      expect(again.status).toBe(first.status);
      expect(again.body).toEqual(first.body);
    }
    expect((await post(`${url}/bytes`, { key: "/bytes" })).body).toHaveLength(256);
    expect((await post(`${url}/stream`, { key: "/stream" })).body.toString()).toContain("piece 4;");
    expect(runs).toBe(3);
  });

  test("a response above maxBodyBytes is a stored failure: its work was done", async () => {
    const url = await shop();
    for (let i = 0; i < 2; i++) {
      const got = await post(`${url}/long`, { key: "k" });
      expect(got).toMatchObject({ status: 500, json: { code: "TOO_LARGE" } });
    }
    expect(runs).toBe(1);
    expect(await post(`${url}/long`)).toMatchObject({ status: 201 });
  });

  test("an endless response ends at maxBodyBytes", async () => {
    const url = await shop();
    for (let i = 0; i < 2; i++) {
      const got = await post(`${url}/endless`, { key: "k" });
      expect(got).toMatchObject({ status: 500, json: { code: "TOO_LARGE" } });
    }
    expect(runs).toBe(1);
  });

  test("a request above maxBodyBytes is answered 413, and nothing runs", async () => {
    const url = await shop();
    const got = await post(`${url}/charge`, { key: "k", body: { long: "x".repeat(LIMIT) } });
    expect(got).toMatchObject({ status: 413 });
    expect(runs).toBe(0);
    expect(await post(`${url}/charge`, { body: { long: "x".repeat(LIMIT) } })).toMatchObject({
      status: 201,
    });
  });

  test("attemptOf(...).complete stores the response in one group with the ops", async () => {
    const url = await shop();
    await kv.put("stock", 1);
    for (let i = 0; i < 2; i++) {
      const got = await post(`${url}/complete`, { key: "k" });
      expect(got).toMatchObject({ status: 201, json: { id: 1 } });
      expect(got.headers.get("location")).toBe("/c/1");
    }
    expect((await kv.get("stock"))?.value).toBe(0);
    expect(await post(`${url}/complete`, { key: "l" })).toMatchObject({ status: 409 });
    expect((await kv.get("stock"))?.value).toBe(0);
    expect(await post(`${url}/complete`)).toMatchObject({ status: 500 });
  });

  test("a client that went away gets the answer when it comes again", async () => {
    const url = await shop();
    const opened = deferred();
    gate = opened.promise;
    const { port } = new URL(url);
    const socket = connect(Number(port), "127.0.0.1");
    const body = JSON.stringify({ cents: 500 });
    socket.write(
      [
        ...["POST /charge HTTP/1.1", "host: 127.0.0.1", "idempotency-key: k"],
        ...["content-type: application/json", `content-length: ${body.length}`, "", body],
      ].join("\r\n"),
    );
    await arrives(() => runs === 1);
    socket.destroy();
    const again = post(`${url}/charge`, { key: "k" });
    await turns(20);
    opened.resolve(undefined);
    expect(await again).toMatchObject({ status: 201, json: { id: 1 } });
    expect(runs).toBe(1);
  });

  test("another process takes a request over once its holder has died", async () => {
    const two = await world.process({ sessionTtlMs: SESSION_MS });
    const dying = await shop();
    const living = await shop({}, two);
    const opened = deferred();
    gate = opened.promise;
    void post(`${dying}/charge`, { key: "k" }).catch(() => {});
    await arrives(() => runs === 1);
    one.isCrashed = true;
    const again = post(`${living}/charge`, { key: "k" });
    await arrives(() => two.ops("kv.check").length === 1);
    gate = undefined;
    await world.clock.advance(SESSION_MS + 1_000);
    expect(await again).toMatchObject({ status: 201, json: { id: 2 } });
    expect(await post(`${living}/charge`, { key: "k" })).toMatchObject({ json: { id: 2 } });
  });

  test("a handler that lost its claim is answered 503, and stores nothing", async () => {
    const url = await shop();
    const opened = deferred();
    gate = opened.promise;
    const first = post(`${url}/charge`, { key: "k" });
    await arrives(() => runs === 1);
    one.isDown = true;
    await world.clock.advance(SESSION_MS);
    opened.resolve(undefined);
    const got = await first;
    expect(got).toMatchObject({ status: 503, json: { code: "LEASE_LOST" } });
    expect(got.headers.get("retry-after")).toBe("1");
    one.isDown = false;
    await world.clock.advance(1_000);
    expect(await callsOf(one).get("k")).toBe(null);
  });

  test("a store that can't be reached is answered 503, and nothing runs", async () => {
    const url = await shop();
    one.isDown = true;
    const got = post(`${url}/charge`, { key: "k" });
    let isOver = false;
    void got.then(() => (isOver = true));
    while (!isOver) await world.clock.advance(50);
    expect(await got).toMatchObject({ status: 503, json: { code: "UNAVAILABLE" } });
    expect(runs).toBe(0);
  });
});

test("a body that nobody parsed is MISCONFIGURED in express", async () => {
  const shop = await frameworks.express(callsOf(one), route, { isUnparsed: true });
  shops.push(shop);
  const got = await post(`${shop.url}/charge`, { key: "k" });
  expect(got).toMatchObject({ status: 500, json: { message: /body parser/ } });
  expect(runs).toBe(0);
});

test("a key is bare or in quotes, of 1 to 200 visible characters", () => {
  expect(parseKey("8e03978e-40d5-43dd-bc93-6894a57f9324")).toBe(
    "8e03978e-40d5-43dd-bc93-6894a57f9324",
  );
  expect(parseKey(' "a b" ')).toBe("a b");
  expect(parseKey('"a\\"\\\\b"')).toBe('a"\\b');
  expect(parseKey("x".repeat(200))).toHaveLength(200);
  for (const wrong of ["", '"', '""', '"a\\n"', "a b", "é", "a\u0000", ["a", "b"]]) {
    expect(parseKey(wrong)).toBe(undefined);
  }
});

test("no scope and key look like another scope and key", () => {
  const pairs = [
    ["a", "b/c"],
    ["a/b", "c"],
    ["a%2Fb", "c"],
    ["", "a/b/c"],
    ["x".repeat(300), "c"],
    ["x".repeat(300), "d"],
  ] as const;
  const keys = pairs.map(([scope, key]) => scopedKey(scope, key));
  expect(new Set(keys).size).toBe(keys.length);
  for (const key of keys) expect(key.length).toBeLessThanOrEqual(200);
});

test.each([
  ["methods", "POST"],
  ["header", ""],
  ["isRequired", "yes"],
  ["scope", "user"],
  ["fingerprint", true],
  ["inFlight", "later"],
  ["timeoutMs", -1],
  ["isStored", [200]],
  ["headers", ["content-type", "Set-Cookie"]],
  ["headers", ["transfer-encoding"]],
  ["maxBodyBytes", 700_001],
  ["cache", true],
])("a wrong or unknown option of the middleware is refused: %s = %j", (name, value) => {
  expect(() => honoIdempotency(callsOf(one), { [name]: value })).toThrow(/[Ee]xpected/);
});
