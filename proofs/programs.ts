/** The programs that nodes run, by the name that crosses to their process. */
import type { Program } from "./kit/node.ts";

export type ProgramName = "a7.member" | "b1.mailer" | "b1.sink";

export const PROGRAMS: Readonly<Record<ProgramName, () => Promise<Program>>> = {
  "a7.member": async (): Promise<Program> => (await import("./a7/member.ts")).member,
  "b1.mailer": async (): Promise<Program> => (await import("./b1/mailer.ts")).mailer,
  "b1.sink": async (): Promise<Program> => (await import("./b1/sink.ts")).sink,
};
