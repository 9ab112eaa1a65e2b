/**
 * Coding systems: how the codes of each are written, so that `e119`, `E11.9` and `ICD10CM:E11.9` are one code.
 *
 * A system is a value. Four kinds are here; `defineCodeSystem` makes another one.
 *
 * @module
 */

/** A coding system. */
export interface CodeSystem {
  /** Stands before a code and its colon: `ICD10CM`. */
  readonly name: string;
  /** What people call it. */
  readonly label: string;
  /** Other names that may stand before the colon. */
  readonly aliases: readonly string[];
  /** The one way this toolkit writes a code, or undefined where the text is no code of this system. */
  normalise(text: string): string | undefined;
}

/** What a coding system is made of. */
export interface CodeSystemOptions {
  readonly name: string;
  readonly label: string;
  readonly aliases?: readonly string[];
  /**
   * From trimmed upper-case text without the system's name to the canonical form; undefined where it is no such code.
   */
  readonly canonical: (text: string) => string | undefined;
}

/**
 * A coding system of your own.
 *
 * @throws {RangeError} Where the name is empty or holds a colon or white space.
 *
 * @example Package codes of drugs, in eleven digits
 * ```ts
 * import assert from "node:assert/strict";
 * const ndc = defineCodeSystem({
 *   name: "NDC",
 *   label: "National Drug Code",
 *   canonical: (text) => /^\d{5}-\d{4}-\d{2}$/.test(text) ? text.replaceAll("-", "") : undefined,
 * });
 * assert.equal(ndc.normalise("ndc:00071-0155-23"), "00071015523");
 * assert.equal(ndc.normalise("aspirin"), undefined);
 * ```
 */
export function defineCodeSystem({ name, label, aliases = [], canonical }: CodeSystemOptions): CodeSystem {
  if (!/^[^\s:]+$/.test(name)) {
    throw new RangeError(`a coding system's name has no space and no colon, but it is ${JSON.stringify(name)}`);
  }
  const prefixes = [name, ...aliases].map((prefix) => `${prefix.toUpperCase()}:`);
  return Object.freeze({
    name,
    label,
    aliases,
    normalise(text: string) {
      const plain = text.trim().toUpperCase();
      const prefix = prefixes.find((known) => plain.startsWith(known));
      return canonical(prefix === undefined ? plain : plain.slice(prefix.length).trim());
    },
  });
}

/** ICD-10-CM diagnoses, with a dot after the third character; `E11.-` is the category `E11`. */
const icd10cm = defineCodeSystem({
  name: "ICD10CM",
  label: "ICD-10-CM",
  aliases: ["ICD10", "ICD-10", "ICD-10-CM"],
  canonical(text) {
    const [, category, rest] = /^([A-Z]\d[0-9A-Z])\.?([0-9A-Z]{0,4})\.?-?$/.exec(text) ?? [];
    return category && (rest ? `${category}.${rest}` : category);
  },
});

/** ICD-9-CM diagnoses: three digits, or V and two, or E and three; then a dot and what follows. */
const icd9cm = defineCodeSystem({
  name: "ICD9CM",
  label: "ICD-9-CM diagnoses",
  aliases: ["ICD9", "ICD-9", "ICD-9-CM"],
  canonical(text) {
    // a table of numbers loses leading zeros: `8.45` is 008.45, while 845 without a dot is a code of its own
    const padded = /^\d{1,2}\.\d/.test(text) ? text.padStart(text.length + 3 - text.indexOf("."), "0") : text;
    const [, category, rest] = /^(\d{3}|V\d{2}|E\d{3})\.?(\d{0,2})$/.exec(padded) ?? [];
    return category && (rest ? `${category}.${rest}` : category);
  },
});

/** ICD-9-CM procedures: two digits, a dot, one or two more. */
const icd9proc = defineCodeSystem({
  name: "ICD9PROC",
  label: "ICD-9-CM procedures",
  aliases: ["ICD9PCS"],
  canonical(text) {
    const padded = /^\d\.\d/.test(text) ? `0${text}` : text;
    const [, chapter, rest] = /^(\d{2})\.?(\d{0,2})$/.exec(padded) ?? [];
    return chapter && (rest ? `${chapter}.${rest}` : chapter);
  },
});

/** Single-level CCS categories: a number, without the dot and brackets that AHRQ's labels have. */
const ccs = defineCodeSystem({
  name: "CCS",
  label: "CCS category",
  canonical(text) {
    const [, digits] = /^\[?0*(\d{1,4})\.?\]?$/.exec(text) ?? [];
    return digits !== undefined && Number(digits) > 0 ? digits : undefined;
  },
});

/** ATC, at any of its five levels: `A`, `A10`, `A10B`, `A10BA`, `A10BA02`. */
const atc = defineCodeSystem({
  name: "ATC",
  label: "Anatomical Therapeutic Chemical classification",
  canonical: (text) => /^[A-Z](\d{2}([A-Z]([A-Z](\d{2})?)?)?)?$/.test(text) ? text : undefined,
});

/**
 * The coding systems that are built in.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(codeSystems.ICD10CM.normalise("e119"), "E11.9");
 * assert.equal(codeSystems.ICD9CM.normalise("8.45"), "008.45");
 * assert.equal(codeSystems.CCS.normalise("[49.]"), "49");
 * assert.equal(codeSystems.ATC.normalise("a10ba02"), "A10BA02");
 * ```
 */
export const codeSystems = {
  ICD10CM: icd10cm,
  ICD9CM: icd9cm,
  ICD9PROC: icd9proc,
  CCS: ccs,
  ATC: atc,
} as const satisfies Record<string, CodeSystem>;

/** A code and the name of its system. */
export interface SystemCode {
  readonly system: string;
  readonly code: string;
}

/**
 * Reads a code that says its system: `ICD10CM:E11.9`.
 *
 * @param systems Where to look. Default: the built-in ones.
 * @throws {RangeError} Where it names no system, one that is not known, or is no code of it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(parseCode("icd10:e119"), { system: "ICD10CM", code: "E11.9" });
 * assert.throws(() => parseCode("SNOMED:373555004"), /no coding system is called SNOMED/);
 * ```
 */
export function parseCode(text: string, systems: readonly CodeSystem[] = Object.values(codeSystems)): SystemCode {
  const known = systems.map(({ name }) => name).join(", ");
  const [, prefix] = /^\s*([^\s:]+)\s*:/.exec(text) ?? [];
  if (prefix === undefined) {
    throw new RangeError(
      `the code ${JSON.stringify(text)} does not say its system; write SYSTEM:CODE, one of ${known}`,
    );
  }
  const system = systems.find(({ name, aliases }) =>
    [name, ...aliases].some((each) => each.toUpperCase() === prefix.toUpperCase())
  );
  if (!system) {
    throw new RangeError(
      `no coding system is called ${prefix}; known are ${known}, and defineCodeSystem makes another one`,
    );
  }
  const code = system.normalise(text);
  if (code === undefined) {
    throw new RangeError(`${JSON.stringify(text)} is no code of ${system.label}; check how it is written`);
  }
  return { system: system.name, code };
}
