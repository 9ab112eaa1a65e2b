/**
 * Recall of the pilot run (PyTorch, one seed, three layers, an embedding of the token before; 1000 questions), with the
 * question unknown: to be compared in direction.
 *
 * @module
 */
import { type Agreement, bySeed, orderAgreement, type Row } from "tessera/experiment/mod.ts";

/** Shares of the slots that are dropped. */
export const removedShares = [0.25, 0.5, 0.75, 0.9] as const;

/** By the names of `policiesFor`; one number for each of {@link removedShares}. */
export const pilot: Readonly<Record<string, readonly number[]>> = {
  random: [0.89, 0.71, 0.43, 0.2],
  StreamingLLM: [0.77, 0.52, 0.28, 0.11],
  Knorm: [0.13, 0.07, 0.06, 0.05],
  "longest keys": [1, 1, 1, 0.87],
  "longest values": [1, 1, 0.93, 0.67],
  KeyDiff: [1, 0.99, 0.91, 0.66],
  ObservedAttention: [0.98, 0.94, 0.85, 0.64],
  "H2O's sum": [0.91, 0.82, 0.66, 0.44],
  TOVA: [0.73, 0.58, 0.45, 0.31],
  SnapKV: [0.95, 0.85, 0.61, 0.17],
  "SnapKV, not pooled": [0.95, 0.88, 0.76, 0.27],
  ExpectedAttention: [1, 0.99, 0.97, 0.81],
};

/** How the order of our policies, and where each stands to random, agree with the pilot's at one share. */
export function besidePilot(rows: readonly Row[], removed: typeof removedShares[number]): {
  readonly order: Agreement;
  /** Policies that the pilot has above random and we below, or the other way round. */
  readonly turned: readonly string[];
} {
  const at = removedShares.indexOf(removed);
  const lines = Object.entries(pilot).map(([policy, recall]) => ({
    name: policy,
    ours: bySeed(rows, { policy, removed, question: "unknown" }, "recall"),
    paper: recall[at],
  }));
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const random = lines.find(({ name }) => name === "random")!;
  const turned = lines.filter(({ ours, paper }) => (mean(ours) - mean(random.ours)) * (paper - random.paper) < 0).map((
    { name },
  ) => name);
  return { order: orderAgreement(lines), turned };
}
