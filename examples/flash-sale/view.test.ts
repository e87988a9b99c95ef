import { describe, expect, test } from "vitest";
import { cut, lineOf, openView } from "./view.ts";
import type { Progress } from "./view.ts";

const progress: Progress = {
  seconds: 12.3,
  total: 500,
  arrived: 300,
  ended: 250,
  endings: { completed: 120, refused: 100, returned: 20, adjusted: 10, failed: 4 },
  perSecond: 31.4,
  waiting: 40,
  held: 10,
  oldestMs: 1_250,
  processes: 3,
  processesWanted: 4,
  kills: 2,
  killsWanted: 5,
  restarts: 2,
};

class Recorder {
  readonly isTTY: boolean;
  readonly columns: number = 60;
  text = "";
  constructor(isTTY: boolean) {
    this.isTTY = isTTY;
  }
  write(text: string): void {
    this.text += text;
  }
}

test("a line says all of it", () => {
  expect(lineOf(progress)).toBe(
    " 12 s · 250 of 500 orders · 31/s · 40 waiting, 10 held · oldest 1.3 s · kills 2 of 5 · restarts 2",
  );
});

describe("elsewhere than on a terminal", () => {
  test("a line every two seconds, the last one at the end, and no colours", () => {
    const screen = new Recorder(false);
    const view = openView(screen);
    view.say("hello");
    for (let seconds = 0; seconds <= 4.5; seconds += 0.5) view.update({ ...progress, seconds });
    view.end();
    const lines = screen.text.trimEnd().split("\n");
    expect(lines[0]).toBe("hello");
    expect(lines.slice(1).map((line) => line.slice(0, 5))).toEqual([
      "  0 s",
      "  2 s",
      "  4 s",
      "  5 s",
    ]);
    expect(screen.text).not.toContain("\x1b");
  });
});

describe("on a terminal", () => {
  test("the block is drawn over itself, within the columns", () => {
    const screen = new Recorder(true);
    const view = openView(screen);
    view.update(progress);
    view.say("kill -9 of process 4711, which held 7 orders");
    view.end();
    expect(screen.text).toContain("250 of 500");
    expect(screen.text).toContain("3 of 4");
    expect(screen.text).toContain("process 4711");
    expect(screen.text.split("\x1b[").some((part) => /^\d+A/.test(part))).toBe(true);
    expect(screen.text.endsWith("\n")).toBe(true);
  });

  test("colours take no room when a line is cut", () => {
    expect(cut("\x1b[31mabc\x1b[0mdef", 4)).toBe("\x1b[31mabc\x1b[0md");
    expect(cut("abcdef", 3)).toBe("abc");
    expect(cut("\x1b[31mabcdef\x1b[0m", 2)).toBe("\x1b[31mab\x1b[0m");
  });
});
