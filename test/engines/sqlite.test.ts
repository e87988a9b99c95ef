/** The SQLite engine against every suite, on a clock that the tests move. */
import { describe, test } from "vitest";
import {
  busConformance,
  kvConformance,
  queueConformance,
  runsConformance,
  storeConformance,
  type ConformanceOptions,
} from "../../src/conformance/index.ts";
import { capabilities } from "../../src/engines/sqlite/index.ts";
import { inline as create } from "./sqlite.testing.ts";

const options: ConformanceOptions = { test, create, capabilities };

describe("store", () => storeConformance(options));
describe("kv", () => kvConformance(options));
describe("queue", () => queueConformance(options));
describe("runs", () => runsConformance(options));
describe("bus", () => busConformance(options));
