/**
 * The only source of randomness in the library: a small seeded generator, and named streams of it.
 *
 * @module
 */

/** Step between two states of mulberry32: 2^32 times the golden ratio's fraction, adjusted to be odd. */
const STEP = 0x6D2B79F5;

/** mulberry32's output for one state: 32 well-mixed bits as a fraction in [0, 1). */
function fraction(state: number): number {
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}

/**
 * Tommy Ettinger's mulberry32: a generator with 32 bits of state. Each call gives the next number in [0, 1),
 * a multiple of 2^-32.
 *
 * @param seed An integer; seeds that agree modulo 2^32 give the same numbers.
 * @throws {TypeError} Where the seed is no integer.
 *
 * @example The same seed gives the same numbers
 * ```ts
 * import assert from "node:assert/strict";
 * const next = mulberry32(1);
 * assert.equal(next(), 0.6270739405881613);
 * assert.equal(next(), 0.002735721180215478);
 * ```
 */
export function mulberry32(seed: number): () => number {
  checkSeed(seed);
  let state = seed | 0;
  return () => {
    state = (state + STEP) | 0;
    return fraction(state);
  };
}

/** All that a generator needs to go on: three integers, to be kept in a checkpoint as they are. */
export interface RandomState {
  /** What the streams of this generator are derived from. */
  key: number;
  /** From one state to the next. */
  step: number;
  state: number;
}

/**
 * Numbers drawn from one seed. Every method takes the next numbers of the same sequence; `stream` opens another sequence
 * without touching this one.
 */
export interface Random {
  /**
   * A generator of its own for a purpose. It depends on the seed and the names only: not on what has been drawn before,
   * nor on the order in which streams are opened. Opening the same name twice gives the same numbers twice.
   */
  stream(name: string): Random;

  /** A number in [low, high). Default: [0, 1). */
  uniform(low?: number, high?: number): number;
  /** One of 0, 1, ..., n - 1. Some come more often than others by at most one part in 2^32 / n. */
  integer(n: number): number;
  /** True with this probability. */
  bernoulli(probability: number): boolean;
  /** A normal number, by Box and Muller's formula (the cosine only, so that no second number must be remembered). */
  normal(mean?: number, std?: number): number;
  /**
   * A normal number that lies in [low, high], by the inverse of the distribution function, as PyTorch's `trunc_normal_`.
   * Bounds are values, not multiples of `std`, and may be infinite. Default: mean 0, std 1, from -2 to 2.
   */
  truncatedNormal(mean?: number, std?: number, low?: number, high?: number): number;

  /** 0, 1, ..., n - 1 in random order. */
  permutation(n: number): number[];
  /** The same values in random order, as a new array. */
  shuffle<Value>(values: readonly Value[]): Value[];
  /** One of the values. */
  choice<Value>(values: readonly Value[]): Value;
  /** An index, drawn with these probabilities. They may be weights: they are divided by their sum. */
  categorical(probabilities: ArrayLike<number>): number;

  /** `length` numbers as from `uniform`, rounded to float32: `high` itself can occur, about once in 2^25. */
  uniforms(length: number, low?: number, high?: number): Float32Array;
  /** `length` numbers as from `normal`, rounded to float32. */
  normals(length: number, mean?: number, std?: number): Float32Array;
  /** `length` numbers as from `truncatedNormal`, rounded to float32. */
  truncatedNormals(length: number, mean?: number, std?: number, low?: number, high?: number): Float32Array;

  /** Where this generator stands; a copy. */
  readonly state: RandomState;
  /** Go on from a `state` that was read earlier. */
  restore(state: RandomState): void;
}

/**
 * A generator, from a seed and perhaps the name of a stream: `random(7, "init")` is `random(7).stream("init")`. Without a
 * name its `uniform()` gives the numbers of `mulberry32(seed)`.
 *
 * Streams are mulberry32 with a step of their own, derived from the name as in Steele, Lea and Flood, "Fast splittable
 * pseudorandom number generators", OOPSLA 2014, section 5: with a common step, two streams would be pieces of one cycle
 * and could overlap. Each repeats itself after 2^32 numbers. Not for secrets.
 *
 * @throws {TypeError | RangeError} From `random` and all methods: where an argument makes no sense.
 *
 * @example Streams do not depend on what else is drawn
 * ```ts
 * import assert from "node:assert/strict";
 * const seven = random(7);
 * const first = seven.stream("init").normal();
 * seven.uniform();
 * seven.stream("batches").permutation(10);
 * assert.equal(seven.stream("init").normal(), first);
 * assert.equal(random(7, "init").normal(), first);
 * ```
 *
 * @example A checkpoint
 * ```ts
 * import assert from "node:assert/strict";
 * const batches = random(0, "batches");
 * batches.uniform();
 * const saved = JSON.parse(JSON.stringify(batches.state));
 * const next = batches.uniform();
 * batches.restore(saved);
 * assert.equal(batches.uniform(), next);
 * ```
 */
export function random(seed: number, name?: string): Random {
  checkSeed(seed);
  const root = generator({ key: seed | 0, step: STEP, state: seed | 0 });
  return name === undefined ? root : root.stream(name);
}

function generator(start: RandomState): Random {
  let { key, step, state } = start;

  function next(): number {
    state = (state + step) | 0;
    return fraction(state);
  }

  /** In (0, 1): the middle of one of 2^32 equal intervals, so that logarithms and quantiles are finite. */
  function open(): number {
    return next() + 2 ** -33;
  }

  function uniform(low = 0, high = 1): number {
    if (!(low < high) || !Number.isFinite(high - low)) {
      throw new RangeError(`uniform needs low < high, both finite, but they are ${low} and ${high}`);
    }
    return low + (high - low) * next();
  }

  function integer(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) {
      throw new RangeError(`integer(n) draws from 0 to n - 1, so n must be an integer from 1 to 2^32, but it is ${n}`);
    }
    return Math.floor(next() * n);
  }

  function normal(mean = 0, std = 1): number {
    checkNormal(mean, std);
    return mean + std * Math.sqrt(-2 * Math.log(open())) * Math.cos(2 * Math.PI * next());
  }

  function truncatedNormal(mean = 0, std = 1, low = -2, high = 2): number {
    return truncatedNormalQuantile(mean, std, low, high)(open());
  }

  function permutation(n: number): number[] {
    checkLength("permutation(n)", n);
    const order = Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) { // Fisher and Yates
      const j = integer(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }

  function choice<Value>(values: readonly Value[]): Value {
    if (values.length === 0) throw new RangeError("choice() needs at least one value, but the array is empty");
    return values[integer(values.length)];
  }

  function categorical(probabilities: ArrayLike<number>): number {
    let total = 0;
    let last = -1;
    for (let i = 0; i < probabilities.length; i++) {
      if (!(probabilities[i] >= 0)) {
        throw new RangeError(`probabilities must be >= 0, but number ${i} is ${probabilities[i]}`);
      }
      if (probabilities[i] > 0) last = i;
      total += probabilities[i];
    }
    if (last === -1 || total === Infinity) {
      throw new RangeError(`probabilities must have a positive, finite sum, but it is ${total}`);
    }
    let left = next() * total;
    for (let i = 0; i < last; i++) {
      left -= probabilities[i];
      if (left < 0) return i;
    }
    return last; // also where rounding left a little over: never an index of probability 0
  }

  function bernoulli(probability: number): boolean {
    if (!(probability >= 0 && probability <= 1)) {
      throw new RangeError(`a probability lies in [0, 1], but it is ${probability}`);
    }
    return next() < probability;
  }

  function fill(length: number, draw: () => number): Float32Array {
    checkLength("length", length);
    return Float32Array.from({ length }, draw);
  }

  return {
    stream(name) {
      const child = mix(mix(key) ^ hash(name));
      return generator({ key: child, step: oddStep(mix(child + 1)), state: mix(child + 2) });
    },
    uniform,
    integer,
    bernoulli,
    normal,
    truncatedNormal,
    permutation,
    shuffle: (values) => permutation(values.length).map((i) => values[i]),
    choice,
    categorical,
    uniforms: (length, low, high) => fill(length, () => uniform(low, high)),
    normals: (length, mean, std) => fill(length, () => normal(mean, std)),
    truncatedNormals(length, mean = 0, std = 1, low = -2, high = 2) {
      const valueAt = truncatedNormalQuantile(mean, std, low, high);
      return fill(length, () => valueAt(open()));
    },
    get state() {
      return { key, step, state };
    },
    restore(saved) {
      const numbers = [saved?.key, saved?.step, saved?.state];
      if (!numbers.every((number) => Number.isInteger(number)) || saved.step % 2 === 0) {
        throw new TypeError(`${JSON.stringify(saved)} is no state of a generator; pass one that was read from .state`);
      }
      [key, step, state] = [saved.key | 0, saved.step | 0, saved.state | 0];
    },
  };
}

function checkSeed(seed: number): void {
  if (!Number.isSafeInteger(seed)) {
    throw new TypeError(`a seed must be an integer, but it is ${seed}; pass for example 1`);
  }
}

function checkNormal(mean: number, std: number): void {
  if (!Number.isFinite(mean) || !(std >= 0) || std === Infinity) {
    throw new RangeError(`a normal number needs a finite mean and std >= 0, but they are ${mean} and ${std}`);
  }
}

function checkLength(what: string, n: number): void {
  if (!Number.isInteger(n) || n < 0 || n >= 2 ** 31) {
    throw new RangeError(`${what} must be an integer >= 0, but it is ${n}`);
  }
}

/**
 * The quantile function of a truncated normal distribution: from (0, 1) to [low, high].
 *
 * @example The middle of a symmetric one
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(truncatedNormalQuantile(0, 1, -2, 2)(0.5), 0);
 * ```
 */
export function truncatedNormalQuantile(mean: number, std: number, low: number, high: number): (p: number) => number {
  checkNormal(mean, std);
  if (!(low < high)) throw new RangeError(`truncatedNormal needs low < high, but they are ${low} and ${high}`);
  if (std === 0) throw new RangeError("truncatedNormal needs std > 0, but it is 0");
  let [from, to] = [(low - mean) / std, (high - mean) / std];
  // The upper tail is worked out as the lower one, mirrored: probabilities near 0 are exact, near 1 they are rounded.
  const sign = from > 0 ? -1 : 1;
  if (sign === -1) [from, to] = [-to, -from];
  const below = normalCdf(from);
  const inside = normalCdf(to) - below;
  if (inside === 0) {
    throw new RangeError(
      `no probability lies between ${low} and ${high} for mean ${mean} and std ${std}; move the bounds closer to the mean`,
    );
  }
  return (p) => {
    const z = sign * normalQuantile(below + (sign === 1 ? p : 1 - p) * inside);
    return Math.min(high, Math.max(low, mean + std * z));
  };
}

/** The standard normal distribution function, to about 1e-13 of its value also far down the lower tail. */
function normalCdf(z: number): number {
  const upper = upperTail(Math.abs(z));
  return z > 0 ? 1 - upper : upper;
}

/** The probability above z >= 0. Abramowitz and Stegun 1964, 26.2.11 (series) and 26.2.14 (continued fraction). */
function upperTail(z: number): number {
  if (z === Infinity) return 0;
  const density = Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI);
  if (z < 3) {
    let term = z;
    let sum = z;
    for (let odd = 3; term > 1e-17 * sum; odd += 2) {
      term *= z * z / odd;
      sum += term;
    }
    return 0.5 - density * sum;
  }
  let fractionBelow = z;
  for (let k = 60; k > 0; k--) fractionBelow = z + k / fractionBelow;
  return density / fractionBelow;
}

/**
 * The inverse of the standard normal distribution function on (0, 1), to about 1e-15.
 * Wichura, "Algorithm AS 241: The percentage points of the normal distribution", Applied Statistics 37 (1988), PPND16.
 */
function normalQuantile(p: number): number {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) return q * ratio(0.180625 - q * q, centre);
  const r = Math.sqrt(-Math.log(q < 0 ? p : 1 - p));
  const z = r <= 5 ? ratio(r - 1.6, middle) : ratio(r - 5, tail);
  return q < 0 ? -z : z;
}

/** Numerator and denominator, highest power first. */
type Ratio = [numerator: number[], denominator: number[]];

function ratio(x: number, [numerator, denominator]: Ratio): number {
  const valueOf = (coefficients: number[]) => coefficients.reduce((sum, coefficient) => sum * x + coefficient, 0);
  return valueOf(numerator) / valueOf(denominator);
}

const centre: Ratio = [
  [
    2.5090809287301226727e3,
    3.3430575583588128105e4,
    6.7265770927008700853e4,
    4.5921953931549871457e4,
    1.3731693765509461125e4,
    1.9715909503065514427e3,
    1.3314166789178437745e2,
    3.3871328727963666080,
  ],
  [
    5.2264952788528545610e3,
    2.8729085735721942674e4,
    3.9307895800092710610e4,
    2.1213794301586595867e4,
    5.3941960214247511077e3,
    6.8718700749205790830e2,
    4.2313330701600911252e1,
    1,
  ],
];

const middle: Ratio = [
  [
    7.74545014278341407640e-4,
    2.27238449892691845833e-2,
    2.41780725177450611770e-1,
    1.27045825245236838258,
    3.64784832476320460504,
    5.76949722146069140550,
    4.63033784615654529590,
    1.42343711074968357734,
  ],
  [
    1.05075007164441684324e-9,
    5.47593808499534494600e-4,
    1.51986665636164571966e-2,
    1.48103976427480074590e-1,
    6.89767334985100004550e-1,
    1.67638483018380384940,
    2.05319162663775882187,
    1,
  ],
];

const tail: Ratio = [
  [
    2.01033439929228813265e-7,
    2.71155556874348757815e-5,
    1.24266094738807843860e-3,
    2.65321895265761230930e-2,
    2.96560571828504891230e-1,
    1.78482653991729133580,
    5.46378491116411436990,
    6.65790464350110377720,
  ],
  [
    2.04426310338993978564e-15,
    1.42151175831644588870e-7,
    1.84631831751005468180e-5,
    7.86869131145613259100e-4,
    1.48753612908506148525e-2,
    1.36929880922735805310e-1,
    5.99832206555887937690e-1,
    1,
  ],
];

/** Stirs 32 bits: every bit of the result depends on every bit of the argument (the end of MurmurHash3, Appleby). */
function mix(bits: number): number {
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}

/** FNV-1a, Fowler, Noll and Vo, over the name's UTF-8 bytes. */
function hash(name: string): number {
  return new TextEncoder().encode(name).reduce((sum, byte) => Math.imul(sum ^ byte, 0x01000193), 0x811c9dc5 | 0);
}

/** An odd step with many changes from bit to bit: without them, neighbouring states look too much alike. */
function oddStep(bits: number): number {
  const step = bits | 1;
  let changes = 0;
  for (let pairs = step ^ (step >>> 1); pairs !== 0; pairs &= pairs - 1) changes++;
  return changes < 12 ? step ^ 0xaaaaaaaa : step;
}
