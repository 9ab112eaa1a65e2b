/**
 * Experiments: declared as a grid of configurations, run row by row, collected, and laid beside the paper. It runs rows
 * and knows no method.
 *
 * @module
 */
export {
  type Cell,
  cellsOf,
  type ColumnType,
  defineExperiment,
  type Experiment,
  type ExperimentOptions,
  fastOf,
  type Grid,
  type Paper,
  type Row,
  type RowContext,
  type Task,
  type Value,
} from "./experiment.ts";
export { collect, type PlannedRow, planOf, runExperiment, type RunOptions, type RunReport } from "./run.ts";
export { type FailedRow, hashOfData, keyOf, Store, type StoredRow } from "./store.ts";
export { fromCSV, toCSV } from "./csv.ts";
export { besidePaper, markdownTable, reproduction } from "./table.ts";
export {
  type Agreement,
  type AgreementWord,
  type Evidence,
  numberAgreement,
  orderAgreement,
  type Pair,
  type Verdict,
  verdictOn,
  type VerdictWord,
} from "./agreement.ts";
export {
  bySeed,
  type Card,
  cardMarkdown,
  cardsPage,
  type Claim,
  judge,
  type OpenClaim,
  type Placed,
  type Published,
} from "./claim.ts";
