/** A vitest reporter that writes how many tests passed, failed and were skipped, for test-all. */
import { writeFileSync } from "node:fs";

/** @typedef {import("vitest/node").TestModule} TestModule */

export default class CountsReporter {
  /**
   * @param {readonly TestModule[]} modules
   * @param {readonly unknown[]} errors
   */
  onTestRunEnd(modules, errors) {
    const file = process.env["HOLDFAST_COUNTS"];
    if (!file) return;
    const counts = { passed: 0, failed: errors.length, skipped: 0 };
    for (const module of modules) {
      // A file that failed to load holds no tests, yet is a failure.
      counts.failed += module.errors().length;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === "passed") counts.passed += 1;
        else if (state === "failed") counts.failed += 1;
        else counts.skipped += 1;
      }
    }
    writeFileSync(file, JSON.stringify(counts));
  }
}
