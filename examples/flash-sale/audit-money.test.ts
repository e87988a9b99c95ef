import { describe, test } from "vitest";
import { ended, judge, mailKey, paidOrder, takeOut } from "./audit.testing.ts";
import type { Plant } from "./audit.testing.ts";
import { PREFIX } from "./books.ts";

const PAYMENTS: readonly Plant[] = [
  [
    "an order that was charged twice",
    (draft) => {
      const row = draft.charges.find(({ order }) => order === paidOrder(draft))!;
      draft.charges.push({ ...row, key: "another" });
    },
    // The money is at the bank, and the ledger does not know of it.
    { doubleCharged: 1, ledgerDifference: -1 },
  ],
  [
    "an order that was charged twice and refunded once",
    (draft) => {
      const row = draft.charges.find(({ order }) => order === paidOrder(draft))!;
      draft.charges.push({ ...row, key: "another" });
      draft.refunds.push({ ...row, key: "another" });
    },
    { doubleCharged: 1 },
  ],
  [
    "a completed order that was not charged",
    (draft) => takeOut(draft.charges, paidOrder(draft)),
    { notCharged: 1, ledgerDifference: -1 },
  ],
  [
    "a failed order that was not refunded",
    (draft) => void draft.refunds.shift(),
    { notRefunded: 1, ledgerDifference: -1 },
  ],
  [
    "a failed order that was refunded in part",
    (draft) => {
      const [row] = draft.refunds;
      draft.refunds.splice(0, 1, { ...row!, pence: row!.pence - 1 });
    },
    { notRefunded: 1, ledgerDifference: 1 },
  ],
  [
    "a failed order whose refund says that there was no charge",
    (draft) => {
      const [row] = draft.refunds;
      draft.refunds.splice(0, 1, { ...row!, pence: 0 });
    },
    { notRefunded: 1, ledgerDifference: -1 },
  ],
  [
    "a completed order that was refunded",
    (draft) => {
      const row = draft.charges.find(({ order }) => order === paidOrder(draft))!;
      draft.refunds.push(row);
    },
    { notCharged: 1, ledgerDifference: -1 },
  ],
  [
    "a failed order that was refunded twice",
    (draft) => void draft.refunds.push({ ...draft.refunds[0]!, key: "another" }),
    { doubleRefunded: 1, ledgerDifference: -1 },
  ],
  [
    "a return that was not paid out",
    (draft) => void draft.credits.shift(),
    { notRefunded: 1, ledgerDifference: -1 },
  ],
  [
    "a return that was paid out twice",
    (draft) => void draft.credits.push({ ...draft.credits[0]!, key: "another" }),
    { doubleRefunded: 1, ledgerDifference: -1 },
  ],
  [
    "a payment for an order that never came",
    (draft) => void draft.charges.push({ key: "x", order: "1", pence: 5 }),
    { misrecorded: 1, ledgerDifference: 5 },
  ],
];

const MAILS: readonly Plant[] = [
  [
    "a customer who was not told",
    (draft) => void draft.keys.delete(mailKey(draft, "confirmed")),
    { unconfirmed: 1 },
  ],
  [
    "a return of which the customer was not told",
    (draft) => void draft.keys.delete(mailKey(draft, "credited")),
    { unconfirmed: 1 },
  ],
  [
    "a customer who was told, and not that it is off",
    (draft) => void draft.keys.delete(mailKey(draft, "withdrawn")),
    { unconfirmed: 1 },
  ],
  [
    "a customer who was told twice",
    (draft) => {
      const key = mailKey(draft, "confirmed");
      draft.keys.set(`${key}1`, draft.keys.get(key)!);
    },
    { doubleConfirmed: 1 },
  ],
  [
    "a mail that could not be sent",
    ({ mails }) => void mails.splice(0, 1, { ...mails[0]!, finished: "dead" }),
    { unconfirmed: 1 },
  ],
  [
    "a mail for an order that was refused",
    (draft) => {
      const [order = ""] = ended(draft, "refused");
      const mail = { order, kind: "confirmed" };
      draft.keys.set(`${PREFIX.mail}${order}/confirmed/9.1`, JSON.stringify(mail));
    },
    { misrecorded: 1 },
  ],
];

describe("each wrong of payments and mails is found", () => {
  test.each([...PAYMENTS, ...MAILS])("%s", (_, plant, expected) => {
    judge(plant, expected);
  });
});
