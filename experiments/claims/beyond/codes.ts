/**
 * D9-a: timelines of clinical codes. A patient has 64 events; common codes come again and again. Two questions: was the
 * rare code 37 ever there (presence), and was code 5 there at least six times (a count)?
 *
 * @module
 */
import { type Random, random } from "../../../lib/random.ts";
import { tf } from "../../../lib/tensor/mod.ts";
import { meanTokens, padded, type Token, trainAndPredict } from "./model.ts";

/** Number of codes, 1 to 40; code c is drawn with a probability proportional to c^-1.1. */
export const CODES = 40;
const EVENTS = 64, ZIPF = 1.1, RARE = 37, COUNTED = 5, THRESHOLD = 6;

/** One entry of a timeline. */
export interface Event {
  readonly code: number;
  /** N(mean of the code, 1) */
  readonly value: number;
}

/** A patient, oldest event first. */
export interface Patient {
  readonly events: readonly Event[];
  /** Whether code 37 occurs. */
  readonly rare: boolean;
  /** Whether code 5 occurs six times or more. */
  readonly often: boolean;
}

const weights = Array.from({ length: CODES }, (_, i) => (i + 1) ** -ZIPF);
/** The mean value of each code is a fact of the world, not of a seed. */
const means = random(0, "means of codes").normals(CODES);

/**
 * Patients, a quarter of each combination of the two labels: timelines are drawn until the combination that is due comes
 * up, since left alone only one in fifty would have both.
 */
export function patients(count: number, rng: Random): Patient[] {
  return Array.from({ length: count }, (_, i) => {
    while (true) {
      const drawn = Array.from({ length: EVENTS }, () => 1 + rng.categorical(weights));
      const rare = drawn.includes(RARE), often = drawn.filter((code) => code === COUNTED).length >= THRESHOLD;
      if (Number(rare) + 2 * Number(often) !== i % 4) continue;
      return { rare, often, events: drawn.map((code) => ({ code, value: means[code - 1] + rng.normal() })) };
    }
  });
}

function tokenOf({ code, value }: Event, size = 1): Token {
  return { features: [...Array.from({ length: CODES }, (_, i) => Number(i + 1 === code)), value], size };
}

/** The events of a patient's different codes, one token each: the code, how often it came, and its last value. */
export function mergeRepeats({ events }: Patient): Token[] {
  const byCode = Map.groupBy(events, ({ code }) => code);
  return [...byCode.values()].map((same) => tokenOf(same.at(-1)!, same.length));
}

/** Keeps `k` events whose scores are highest (equal ones: the later), in the order of the timeline. */
function keep(events: readonly Event[], k: number, score: (event: Event, place: number) => number): Token[] {
  const order = events.map((event, place) => ({ place, score: score(event, place) }))
    .sort((a, b) => b.score - a.score || b.place - a.place).slice(0, k).sort((a, b) => a.place - b.place);
  return order.map(({ place }) => tokenOf(events[place]));
}

/** Means of neighbouring events, in `k` windows. */
function pool(events: readonly Event[], k: number): Token[] {
  return Array.from({ length: k }, (_, j) => {
    const window = events.slice(Math.floor(j * EVENTS / k), Math.floor((j + 1) * EVENTS / k)).map((e) => tokenOf(e));
    const features = window[0].features.map((_, f) =>
      window.reduce((sum, t) => sum + t.features[f], 0) / window.length
    );
    return { features, size: window.length };
  });
}

/** The arms: each gives a patient's tokens, all but `none` as many as merging the repeats leaves. */
export const codeArms: Record<string, (patient: Patient, rng: Random) => Token[]> = {
  none: ({ events }) => events.map((event) => tokenOf(event)),
  "merge repeats": mergeRepeats,
  "merge, no sizes": (patient) => mergeRepeats(patient).map((token) => ({ ...token, size: 1 })),
  "keep frequent": (patient) => keep(patient.events, mergeRepeats(patient).length, ({ code }) => -code),
  "keep rare": (patient) => keep(patient.events, mergeRepeats(patient).length, ({ code }) => code),
  "keep recent": (patient) => keep(patient.events, mergeRepeats(patient).length, (_, place) => place),
  random: (patient, rng) => {
    const scores = rng.uniforms(EVENTS);
    return keep(patient.events, mergeRepeats(patient).length, (_, place) => scores[place]);
  },
  pool: (patient) => pool(patient.events, mergeRepeats(patient).length),
};

/** Trains one model per arm; a line per arm and measure. */
export async function codeRows(seed: number, fast: boolean, signal: AbortSignal) {
  const train = patients(fast ? 768 : 1024, random(seed, "training patients"));
  const test = patients(512, random(seed, "test patients"));
  const targets = Float32Array.from(train.flatMap(({ rare, often }) => [Number(rare), Number(often)]));
  const rows = [];
  for (const [arm, tokens] of Object.entries(codeArms)) {
    const rng = random(seed, "what goes");
    const [seen, asked] = [train, test].map((all) => padded(all.map((patient) => tokens(patient, rng))));
    const logits = await trainAndPredict(seen, targets, asked, {
      seed,
      epochs: 6,
      signal,
      loss: (outputs, y) => tf.losses.sigmoidCrossEntropy(y, outputs),
    });
    const says = test.map((_, i) => [logits[2 * i] > 0, logits[2 * i + 1] > 0]);
    const right = (hit: (patient: Patient, said: boolean[]) => boolean) =>
      test.filter((patient, i) => hit(patient, says[i])).length / test.length;
    const measures = {
      "presence accuracy": right(({ rare }, said) => said[0] === rare),
      "count accuracy": right(({ often }, said) => said[1] === often),
      "xor accuracy": right(({ rare, often }, said) => (said[0] !== said[1]) === (rare !== often)),
    };
    for (const [measure, value] of Object.entries(measures)) {
      rows.push({ arm, tokens: meanTokens(asked), measure, value });
    }
  }
  return rows;
}
