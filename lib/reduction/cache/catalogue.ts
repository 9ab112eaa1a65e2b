/**
 * The catalogue of cache methods: policies under their names, shown as a table.
 *
 * @module
 */
import { streamingLLMMethod } from "./streaming_llm.ts";
import { h2oMethod, observedAttentionMethod } from "./h2o.ts";
import { tovaMethod } from "./tova.ts";
import { snapKVMethod } from "./snapkv.ts";
import { pyramidKVMethod } from "./pyramidkv.ts";
import { knormMethod } from "./knorm.ts";
import { keyDiffMethod } from "./keydiff.ts";
import { expectedAttentionMethod } from "./expected_attention.ts";
import { lagKVMethod } from "./lagkv.ts";
import { thinkMethod } from "./think.ts";
import { adaKVMethod } from "./adakv.ts";
import { criticalKVMethod } from "./criticalkv.ts";
import { chunkKVMethod, inBlocksMethod, inChunksMethod } from "./chunks.ts";
import { rerotatedMethod } from "./rerotate.ts";
import { mergedMethod } from "./merge.ts";
import { kvZipMethod } from "./kvzip.ts";
import { quantisedMethod } from "./quantise.ts";
import { qFilterMethod } from "./qfilter.ts";
import { duoAttentionMethod } from "./duo_attention.ts";
import { simLayerKVMethod } from "./simlayerkv.ts";
import { dmsMethod, whileDecodingMethod } from "./decoding.ts";
import { compactorMethod, leverageMethod, nonCausalAttentionMethod } from "./leverage.ts";
import { curMethod } from "./cur.ts";
import { finchMethod } from "./finch.ts";
import { spattenKVMethod } from "./spatten_kv.ts";
import { inTurnMethod } from "./composed.ts";
import { randomEvictionMethod } from "./random.ts";
import { display, safely } from "../../plot/display.ts";
import { tableBundle } from "../../plot/tables.ts";
import { type CacheLawResult, checkCacheLaws } from "./laws.ts";
import type { CacheMethod, CacheSizes } from "./method.ts";

/** What a method is asked for its needs with; any sizes do. */
const anySizes: CacheSizes = { layers: 2, heads: 2, keyHeads: 1, channels: 4 };

/** Cache methods under their names. `with` adds one's own. */
export class CacheCatalogue<Methods extends Readonly<Record<string, CacheMethod>>> {
  constructor(readonly methods: Methods) {}

  /** The names, in the order of the specification. */
  get names(): (keyof Methods & string)[] {
    return Object.keys(this.methods);
  }

  /**
   * The catalogue with one more method, for comparing one's own with those that are there.
   *
   * @throws {RangeError} Where the name is taken.
   */
  with<Name extends string>(
    name: Name,
    method: CacheMethod,
  ): CacheCatalogue<Methods & Readonly<Record<Name, CacheMethod>>> {
    if (name in this.methods) throw new RangeError(`the catalogue has a method ${name} already; take another name`);
    return new CacheCatalogue({ ...this.methods, [name]: method } as Methods & Readonly<Record<Name, CacheMethod>>);
  }

  /** Holds a method to the laws: see `checkCacheLaws`. */
  laws(name: keyof Methods & string, seeds = 8): CacheLawResult[] {
    return checkCacheLaws(this.methods[name], seeds);
  }

  /**
   * One row per method.
   *
   * @param options `seeds`: random caches that the laws are tried on. Default: 2; with 0 they are left out.
   */
  rows({ seeds = 2 }: { readonly seeds?: number } = {}): Record<string, string | number>[] {
    return this.names.map((name) => {
      const { paper, section, tier, traceable, golden, cost, differs, create } = this.methods[name];
      const needs = create({ keepRate: 0.5 }, anySizes).needs.join(", ") || "keys, values";
      const row = {
        method: name,
        paper,
        section,
        tier,
        needs,
        traceable: traceable ? "yes" : "no",
        golden: golden.join(", ") || "none",
      };
      if (!seeds) return { ...row, cost, differs };
      const results = this.laws(name, seeds);
      const broken = results.filter(({ holds }) => !holds).map(({ law }) => law);
      const held = `${results.length - broken.length} of ${results.length}`;
      return { ...row, laws: broken.length ? `${held}, not ${broken.join(", ")}` : held, cost, differs };
    });
  }

  /** The table, as a notebook shows it. */
  [display](): ReturnType<typeof safely> {
    return safely("the catalogue of cache methods", () => {
      const rows = this.rows(), names = Object.keys(rows[0]);
      const cells = rows.map((row) => names.map((name) => row[name]));
      return tableBundle({ rows: rows.length, columns: names.length, names, cells });
    });
  }
}

/** Every cache method under its name, with the facts about it; shows itself in a notebook as a table. */
export const cacheCatalogue = new CacheCatalogue({
  streamingLLM: streamingLLMMethod,
  h2o: h2oMethod,
  observedAttention: observedAttentionMethod,
  tova: tovaMethod,
  snapKV: snapKVMethod,
  pyramidKV: pyramidKVMethod,
  knorm: knormMethod,
  keyDiff: keyDiffMethod,
  expectedAttention: expectedAttentionMethod,
  lagKV: lagKVMethod,
  think: thinkMethod,
  adaKV: adaKVMethod,
  criticalKV: criticalKVMethod,
  chunkKV: chunkKVMethod,
  inChunks: inChunksMethod,
  inBlocks: inBlocksMethod,
  rerotated: rerotatedMethod,
  merged: mergedMethod,
  kvZip: kvZipMethod,
  quantised: quantisedMethod,
  qFilter: qFilterMethod,
  duoAttention: duoAttentionMethod,
  simLayerKV: simLayerKVMethod,
  whileDecoding: whileDecodingMethod,
  dms: dmsMethod,
  leverage: leverageMethod,
  nonCausalAttention: nonCausalAttentionMethod,
  compactor: compactorMethod,
  cur: curMethod,
  finch: finchMethod,
  spattenKV: spattenKVMethod,
  inTurn: inTurnMethod,
  randomEviction: randomEvictionMethod,
});

/** The name of a cache method of the catalogue. */
export type CacheMethodName = keyof typeof cacheCatalogue.methods;
