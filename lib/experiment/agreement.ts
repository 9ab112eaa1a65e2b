/**
 * Two words, computed from rows: how a published number or order agrees with ours, and what became of a claim.
 *
 * @module
 */
import { mean, meanInterval, pairedDifference } from "../stats.ts";

/** What is said of a published number or order. */
export type AgreementWord = "within interval" | "same order" | "differs" | "not comparable";

/** How a published number or order agrees with ours, and why that is said. */
export interface Agreement {
  readonly agreement: AgreementWord;
  /** One sentence without a full stop, made from the numbers. */
  readonly reason: string;
}

/** One published number and ours. */
export interface Pair {
  /** What the line is called. */
  readonly name: string;
  /** Ours, one per seed. */
  readonly ours: readonly number[];
  /** The published one; null where there is none. */
  readonly paper: number | null;
  /** What the publication says of its own precision: a standard deviation, or half of the last printed digit. */
  readonly spread?: number | null;
  /** Why the two cannot be compared, where that was known before. */
  readonly notComparable?: string | null;
}

/**
 * Whether a published number lies in our 95 % interval over seeds; where the publication gives a spread, whether the two
 * ranges touch. A single run has no interval: it is compared only where the publication gives a spread.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(numberAgreement({ name: "ToMe", ours: [0.9, 0.92, 0.91], paper: 0.915 }).agreement, "within interval");
 * assert.equal(numberAgreement({ name: "ToMe", ours: [0.9, 0.92, 0.91], paper: 0.5 }).agreement, "differs");
 * assert.equal(numberAgreement({ name: "MACs", ours: [4.61], paper: 4.6, spread: 0.05 }).agreement, "within interval");
 * assert.equal(numberAgreement({ name: "ToMe", ours: [0.9], paper: 0.9 }).agreement, "not comparable");
 * ```
 */
export function numberAgreement({ ours, paper, spread, notComparable }: Pair): Agreement {
  const why = obstacle({ ours, paper, notComparable });
  if (why !== undefined) return { agreement: "not comparable", reason: why };
  if (ours.length < 2 && !spread) {
    return { agreement: "not comparable", reason: "one run without a published spread has no interval" };
  }
  const { low, high } = ours.length < 2 ? { low: ours[0], high: ours[0] } : meanInterval(ours);
  const [from, to] = [paper! - (spread ?? 0), paper! + (spread ?? 0)];
  const text = ours.length < 2 ? `ours is ${short(low)}` : `ours is ${short(low)} to ${short(high)}`;
  const published = spread ? `${short(from)} to ${short(to)}` : short(paper!);
  return {
    agreement: low <= to && from <= high ? "within interval" : "differs",
    reason: `${text}, published ${published}`,
  };
}

/**
 * Whether lines stand in the published order: every pair that the publication separates stands so in our means. Says too
 * how many of the reversed pairs lie within the noise of our seeds.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const lines = [{ name: "a", ours: [1, 2], paper: 10 }, { name: "b", ours: [3, 4], paper: 20 }];
 * assert.equal(orderAgreement(lines).agreement, "same order");
 * assert.equal(orderAgreement([lines[0], { ...lines[1], paper: 5 }]).agreement, "differs");
 * assert.equal(orderAgreement([lines[0]]).agreement, "not comparable");
 * ```
 */
export function orderAgreement(lines: readonly Pair[]): Agreement {
  const usable = lines.filter((line) => obstacle(line) === undefined);
  const pairs = usable.flatMap((a, i) => usable.slice(i + 1).map((b) => [a, b] as const))
    .filter(([a, b]) => a.paper !== b.paper);
  if (!pairs.length) {
    const why = lines.map(obstacle).find((reason) => reason !== undefined);
    return { agreement: "not comparable", reason: why ?? "an order needs two lines that the publication separates" };
  }
  const reversed = pairs.filter(([a, b]) => (mean(a.ours) - mean(b.ours)) * (a.paper! - b.paper!) <= 0);
  const inNoise = reversed.filter(([a, b]) => withinNoise(a.ours, b.ours));
  const left = lines.length - usable.length;
  const reason = `${pairs.length - reversed.length} of ${pairs.length} pairs stand as published` +
    (reversed.length ? `, ${inNoise.length} of the others within the noise of seeds` : "") +
    (left ? `; ${left} ${left === 1 ? "line is" : "lines are"} left out` : "");
  return { agreement: reversed.length ? "differs" : "same order", reason };
}

function obstacle({ ours, paper, notComparable }: Pick<Pair, "ours" | "paper" | "notComparable">): string | undefined {
  if (notComparable) return notComparable;
  if (paper === null) return "no published number";
  return ours.length ? undefined : "not run";
}

/** Whether the interval of the difference holds 0; unknown, and so true, with fewer than two seeds. */
function withinNoise(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length || a.length < 2) return true;
  const { low, high } = pairedDifference(a, b);
  return low <= 0 && high >= 0;
}

/** What became of a claim. */
export type VerdictWord = "supported" | "refuted" | "undecided" | "not interpretable";

/** What a claim is judged by. */
export interface Evidence {
  /** What the claim is about, one number per seed. */
  readonly treatment: readonly number[];
  /** What it is compared with, by name, each with the seeds of the treatment: all that the claim has to beat. */
  readonly against: Readonly<Record<string, readonly number[]>>;
  /** Where the treatment should lie. */
  readonly expect: "higher" | "lower";
  /** The whole model's accuracy on the task, where the claim is read off a trained toy; below `needed` nothing is said. */
  readonly whole?: readonly number[];
  /** Default: 0.9. */
  readonly needed?: number;
  /** The random control on the same scale as `whole`, and what guessing gives: it must lie strictly between the two. */
  readonly random?: readonly number[];
  readonly chance?: number;
}

/** A verdict on a claim, why, and the paired difference to each control. */
export interface Verdict {
  readonly verdict: VerdictWord;
  /** One sentence without a full stop, made from the numbers. */
  readonly reason: string;
  readonly differences: readonly {
    readonly name: string;
    readonly value: number;
    readonly low: number;
    readonly high: number;
  }[];
}

/** Seeds that a claim needs, at least. */
const SEEDS = 3;

/**
 * The verdict on a claim: `supported` where the 95 % t interval of the paired difference to every control excludes 0 in
 * the expected direction, `refuted` where it does so in the other direction for one of them, else `undecided`; `not
 * interpretable` with fewer than three seeds, without a control, or where the toy did not learn its task or cannot tell
 * methods apart.
 *
 * @throws {RangeError} Where a control has another number of seeds.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const random = [0.7, 0.72, 0.69];
 * const verdict = (treatment: number[]) => verdictOn({ treatment, against: { random }, expect: "higher" }).verdict;
 * assert.equal(verdict([0.8, 0.83, 0.79]), "supported");
 * assert.equal(verdict([0.6, 0.61, 0.6]), "refuted");
 * assert.equal(verdict([0.7, 0.8, 0.6]), "undecided");
 * assert.equal(verdictOn({ treatment: [0.8], against: { random: [0.7] }, expect: "higher" }).verdict, "not interpretable");
 * ```
 */
export function verdictOn(
  { treatment, against, expect, whole, needed = 0.9, random, chance }: Evidence,
): Verdict {
  const controls = Object.entries(against);
  const other = controls.find(([, values]) => values.length !== treatment.length);
  if (other) {
    throw new RangeError(
      `the control ${other[0]} has ${
        other[1].length
      } seeds and the treatment ${treatment.length}; run both on the same`,
    );
  }
  const silent = (reason: string): Verdict => ({ verdict: "not interpretable", reason, differences: [] });
  if (treatment.length < SEEDS) return silent(`${treatment.length} seeds, and ${SEEDS} are needed`);
  if (!controls.length) return silent("no control to compare with");
  const failing = whole?.filter((value) => value < needed).length ?? 0;
  if (failing) return silent(`the whole model stays below ${needed} on ${failing} of ${whole!.length} seeds`);
  if (random && chance !== undefined && whole) {
    const middle = mean(random);
    if (!(middle > chance && middle < mean(whole))) {
      return silent(`chance selection gives ${short(middle)}, not between ${short(chance)} and ${short(mean(whole))}`);
    }
  }
  const sign = expect === "higher" ? 1 : -1;
  const differences = controls.map(([name, values]) => {
    const { value, low, high } = pairedDifference(treatment, values);
    return { name, value, low, high };
  });
  const side = ({ low, high }: { low: number; high: number }) => low > 0 ? sign : high < 0 ? -sign : 0;
  const verdict = differences.some((difference) => side(difference) < 0)
    ? "refuted"
    : differences.every((difference) => side(difference) > 0)
    ? "supported"
    : "undecided";
  const reason = differences.map(({ name, value, low, high }) =>
    `${short(value)} [${short(low)}, ${short(high)}] against ${name}`
  ).join("; ");
  return { verdict, reason: reason + (whole ? nearGuessing(random, chance) : ""), differences };
}

/** What must be added where chance selection passes for better than guessing by less than its seeds vary. */
function nearGuessing(random: readonly number[] | undefined, chance: number | undefined): string {
  if (!random || random.length < 2 || chance === undefined) return "";
  const { value, low, high } = meanInterval(random);
  if (low > chance) return "";
  return `; chance selection, ${short(value)} [${short(low)}, ${short(high)}], is not told from guessing, ${
    short(chance)
  }: ` +
    "a cut of this size may tell no methods apart";
}

function short(value: number): string {
  return String(Number(value.toPrecision(3)));
}
