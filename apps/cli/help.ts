/** The help texts, each with examples that work as they stand. */
import type { CommandName } from "./args.ts";

const STORE_OPTIONS = `\
  --engine URL      the store: sqlite:PATH (or the environment's HOLDFAST_URL)
  --namespace NAME  the program's namespace (default: default)
  --partition NAME  a partition of the namespace`;

const COMMON_OPTIONS = `\
  --json            one JSON value, for programs
  --verbose         where an error came from
  -h, --help        this text`;

const EXIT_CODES = `\
Exit codes: 0 it went well, 1 an action, a check or a proof failed, 2 bad usage, 3 the store
can't be reached or is misconfigured, 130 a proof was interrupted.`;

const ALL = `holdfast: look into a Holdfast store, and prove what it promises

Usage: holdfast COMMAND [ARGUMENTS] [OPTIONS]

Commands:
  inspect queues [NAME]      counts of every queue, or all of one; pause and resume it
  inspect jobs QUEUE [ID]    jobs, or one of them; cancel it, try it again, redrive the dead
  inspect keys [PREFIX]      keys and values
  inspect runs [WORKFLOW] [ID]
                             runs of workflows; send, cancel, fork, redrive
  inspect sessions           live processes and what they hold
  journals check             replay live runs against today's code: which would break
  journals export            what is on record of runs, as lines of JSON
  prove ROW                  show a guarantee on a real engine, with its figures
  help COMMAND               more about a command

Options of every command:
${COMMON_OPTIONS}
  --version         the version

Examples:
  holdfast inspect queues --engine sqlite:./app.db
  holdfast inspect jobs emails --state dead --engine sqlite:./app.db
  HOLDFAST_URL=sqlite:./app.db holdfast inspect sessions --json
  holdfast prove b1

${EXIT_CODES}
`;

const INSPECT = `holdfast inspect: look into a store, and act on what is there

Usage: holdfast inspect queues | jobs | keys | runs | sessions [ARGUMENTS] [OPTIONS]

A SQLite store is opened beside the programs that use it; nothing stops for it. A file
that is not there is an error, not a new store.

${STORE_OPTIONS}
${COMMON_OPTIONS}

Examples:
  holdfast inspect queues --engine sqlite:./app.db --namespace shop
  holdfast inspect jobs emails --engine sqlite:./app.db
  holdfast inspect keys stock/ --engine sqlite:./app.db
  holdfast inspect runs place-order --engine sqlite:./app.db
  holdfast inspect sessions --engine sqlite:./app.db

More: holdfast help inspect queues (jobs, keys, runs, sessions)
`;

const QUEUES = `holdfast inspect queues: counts of every queue, or all of one

Usage: holdfast inspect queues [NAME] [OPTIONS]

  --pause           no process claims jobs of NAME until it is resumed; what runs goes on
  --resume          claims go on
${STORE_OPTIONS}
${COMMON_OPTIONS}

Examples:
  holdfast inspect queues --engine sqlite:./app.db
  holdfast inspect queues emails --engine sqlite:./app.db
  holdfast inspect queues emails --pause --engine sqlite:./app.db
  holdfast inspect queues --json --engine sqlite:./app.db | jq '.queues[].counts.dead'
`;

const JOBS = `holdfast inspect jobs: jobs of a queue, or one of them

Usage: holdfast inspect jobs QUEUE [ID] [OPTIONS]

  --state STATE     ready, leased, scheduled, blocked, dead, cancelled or completed
                    (default: the first of each)
  --limit N         at most N jobs, 1 to 1000 (default: 50)
  --after SEQ       the page after this job, with --state
  --full            payloads, results and errors whole (--json always has them whole)
  --cancel          with ID: cancel the job if it waits, ask its holder to stop if it runs
  --retry           with ID: try the dead job again, its attempts at zero
  --redrive         try all dead jobs again, or with --limit N the N oldest, or with ID that one
${STORE_OPTIONS}
${COMMON_OPTIONS}

Examples:
  holdfast inspect jobs emails --engine sqlite:./app.db
  holdfast inspect jobs emails --state dead --limit 10 --engine sqlite:./app.db
  holdfast inspect jobs emails mail-17 --full --engine sqlite:./app.db
  holdfast inspect jobs emails mail-17 --retry --engine sqlite:./app.db
  holdfast inspect jobs emails --redrive --engine sqlite:./app.db
`;

const KEYS = `holdfast inspect keys: keys and values

Usage: holdfast inspect keys [PREFIX] [OPTIONS]

  --get KEY         one key
  --limit N         at most N keys, 1 to 1000 (default: 50)
  --after KEY       the page after this key
  --full            values whole (--json always has them whole)
  --reserved        Holdfast's own keys too, which begin with $
${STORE_OPTIONS}
${COMMON_OPTIONS}

Examples:
  holdfast inspect keys --engine sqlite:./app.db
  holdfast inspect keys stock/ --limit 10 --engine sqlite:./app.db
  holdfast inspect keys --get stock/85123A --json --engine sqlite:./app.db
`;

const RUNS = `holdfast inspect runs: runs of workflows, or one of them with what happened in it

Usage: holdfast inspect runs [WORKFLOW] [ID] [OPTIONS]

  --state STATE     running, ready, waiting, attention, failed, cancelled or completed
                    (default: the first of each)
  --prefix TEXT     runs whose ID begins so
  --attribute NAME=VALUE
                    runs that were started with that attribute
  --limit N         at most N runs, 1 to 1000 (default: 50)
  --after SEQ       the page after this run, with --state
  --values          inputs, results, events and attributes too, which are left out else
  --full            values and errors whole (--json always has them whole)
  --send EVENT      with ID: send the run an event; it is checked when the run reads it
    --data JSON     what the event carries (default: null)
    --id ID         the event's own id: sent again under it, it changes nothing
  --cancel          with ID: stop the run, and have it undo what it did
    --reason TEXT   what the run's error will say
  --fork-from STEP  with ID: a new run with what this one had on record before the step
    --id ID         the new run's ID
  --redrive         with ID: have the run that needs attention go on;
                    without: all of them, or with --limit N the N oldest
${STORE_OPTIONS}
${COMMON_OPTIONS}

Examples:
  holdfast inspect runs --engine sqlite:./app.db
  holdfast inspect runs place-order --state attention --engine sqlite:./app.db
  holdfast inspect runs place-order order-17 --values --engine sqlite:./app.db
  holdfast inspect runs place-order order-17 --send approved --data '{"by":"ann"}' \\
    --engine sqlite:./app.db
  holdfast inspect runs place-order order-17 --fork-from charge --engine sqlite:./app.db
  holdfast inspect runs place-order --redrive --engine sqlite:./app.db
`;

const JOURNALS = `holdfast journals: what is on record of the runs of workflows

Usage: holdfast journals check | export [OPTIONS]

Both only read. Run the check before changed code goes live.

${STORE_OPTIONS}
${COMMON_OPTIONS}

Examples:
  holdfast journals check --module ./dist/workflows.js --engine sqlite:./app.db
  holdfast journals export --workflow place-order --engine sqlite:./app.db > journals.jsonl

More: holdfast help journals check (export)
`;

const JOURNALS_CHECK = `holdfast journals check: which live runs would break with the code as it is

Usage: holdfast journals check --module FILE[#EXPORT] [OPTIONS]

FILE is a module of JavaScript whose exports, alone or in lists, are what
implement(definition, handler) gives. It is imported, so let it start nothing. Each run's
handler runs with what is on record; no step and no undo is called, and nothing is written.
It exits with 1 if a run would break, and says at which record.

  --module FILE     the module, or one of its exports: ./workflows.js#placing
  --workflow NAME   this workflow alone (default: all of the module's)
  --state STATE     runs of this state (default: waiting, ready, running and attention)
  --limit N         at most N runs of each workflow
  --from FILE       the lines that journals export wrote, in place of a store
${STORE_OPTIONS}
${COMMON_OPTIONS}

Examples:
  holdfast journals check --module ./dist/workflows.js --engine sqlite:./app.db
  holdfast journals check --workflow place-order --module ./dist/workflows.js#placing \\
    --engine sqlite:./app.db --json
  holdfast journals check --module ./dist/workflows.js --from journals.jsonl
`;

const JOURNALS_EXPORT = `holdfast journals export: what is on record of runs, one line of JSON each

Usage: holdfast journals export --workflow NAME [OPTIONS]

Inputs, results and events are in it as they are: keep it as you keep the store.

  --workflow NAME   whose runs
  --state STATE     runs of this state (default: waiting, ready, running and attention)
  --limit N         at most N runs
${STORE_OPTIONS}
${COMMON_OPTIONS}

Examples:
  holdfast journals export --workflow place-order --engine sqlite:./app.db > journals.jsonl
  holdfast journals export --workflow place-order --state completed --limit 100 \\
    --engine sqlite:./app.db
`;

const SESSIONS = `holdfast inspect sessions: live processes and what they hold

Usage: holdfast inspect sessions [OPTIONS]

A process that holds jobs or keys has one session, which it renews at a third of its TTL.
When the session ends, its jobs go to others and its keys vanish.

${STORE_OPTIONS}
${COMMON_OPTIONS}

Examples:
  holdfast inspect sessions --engine sqlite:./app.db
  holdfast inspect sessions --json --engine sqlite:./app.db
`;

const PROVE = `holdfast prove: show a guarantee on a real engine

Usage: holdfast prove ROW [OPTIONS]
       holdfast prove --list

A proof starts real processes, kills some, and measures. It writes in a namespace of its
own and removes what it wrote. Without an engine it uses a SQLite file in a temporary
folder. It exits with 1 if the guarantee did not hold, and with 130 if it was interrupted
(by Ctrl-C or SIGTERM), its processes ended and what it wrote removed.

  --list            the rows that can be shown
  --engine URL      the store: sqlite:PATH or memory: (or the environment's HOLDFAST_URL)
  --broken          run the deliberately broken variant, which must fail
  --short           a smaller form, for a quick look
${COMMON_OPTIONS}

Examples:
  holdfast prove --list
  holdfast prove b1
  holdfast prove a7 --engine memory: --json
  holdfast prove b1 --broken --short
`;

const TEXTS: Readonly<Record<CommandName | "inspect" | "journals" | "", string>> = {
  "": ALL,
  inspect: INSPECT,
  "inspect queues": QUEUES,
  "inspect jobs": JOBS,
  "inspect keys": KEYS,
  "inspect runs": RUNS,
  "inspect sessions": SESSIONS,
  journals: JOURNALS,
  "journals check": JOURNALS_CHECK,
  "journals export": JOURNALS_EXPORT,
  prove: PROVE,
};

/** The help of a command, of the first word of several, or of the whole. */
export function helpText(about: string): string {
  return TEXTS[about as keyof typeof TEXTS] ?? ALL;
}
