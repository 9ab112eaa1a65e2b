/**
 * What the catalogue says of a cache method: where it comes from, what it needs, what it costs, where it differs.
 *
 * @module
 */
import type { CachePolicy } from "../../nn/cache_policy.ts";
import type { CacheLawId } from "./laws.ts";
import type { CacheOptions } from "./policy.ts";

/** The sizes of the model that a method with numbers of its own (filters, gates) is made for. */
export interface CacheSizes {
  readonly layers: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly channels: number;
}

/** The facts about a cache method, in words for a table and as values for the tests that hold them. */
export interface CacheMethod {
  /** Authors, short title, year. */
  readonly paper: string;
  /** Section and number of the preprint: "4, arXiv:2404.14469". */
  readonly section: string;
  /** 1: golden where there is a case, laws, traced, timed; 2: the same without timing. */
  readonly tier: 1 | 2;
  /** Whether its decision can be traced into a compiled function; one that reads values back cannot. */
  readonly traceable: boolean;
  /** Families of golden cases that hold it against its authors' code. */
  readonly golden: readonly string[];
  /** What deciding costs: n tokens, d channels of a head, w of a window; multiplications for each head. */
  readonly cost: string;
  /** "differs from the paper / from the code in ...", one phrase. */
  readonly differs: string;
  /** Laws that it must break, and why. Those it keeps are all others: see `cacheLaws`. */
  readonly breaks: Partial<Record<CacheLawId, string>>;
  /** The method with a budget for a model of given sizes, everything else as by default (windows fit small prompts). */
  readonly create: (options: CacheOptions, sizes: CacheSizes) => CachePolicy;
}
