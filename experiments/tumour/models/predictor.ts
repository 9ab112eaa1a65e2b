/**
 * What is asked of every model of the tumour benchmark: the next volume under each treatment, and volumes under a plan.
 *
 * @module
 */
import type { OneStepTestSet, SequenceTestSet } from "../../../lib/data/mod.ts";

/** Answers the questions of the test sets. */
export interface Predictor {
  /**
   * cm³ on the next day, [patients, days - 1, 4], treatments in the order none, chemotherapy, radiotherapy, both. What
   * stands after a patient's last origin does not matter.
   */
  oneStep(test: OneStepTestSet): Float32Array | Promise<Float32Array>;
  /** cm³ 2 to horizon + 1 days after the origin, [rows, horizon]. */
  sequences(test: SequenceTestSet): Float32Array | Promise<Float32Array>;
}
