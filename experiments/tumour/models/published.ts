/**
 * Sizes and learning rates that the Causal Transformer's authors found best for the tumour benchmark, after the repair of
 * its simulator in March 2024: Melnychuk, Frauen and Feuerriegel, ICML 2022, arXiv:2204.07258, configuration files of its code.
 *
 * @module
 */

/** The confounding strengths that something is published for. */
export const GAMMAS = [0, 1, 2, 3, 4] as const;
/** One of them. */
export type Gamma = typeof GAMMAS[number];

/** How a network is made and trained. */
export interface NetworkSettings {
  readonly learningRate: number;
  readonly batch: number;
  readonly hidden: number;
  readonly dropout: number;
}

/** How a network with a representation is made and trained. */
export interface HeadSettings extends NetworkSettings {
  readonly br: number;
  readonly fc: number;
}

/** How one of RMSN's networks is made and trained. */
export interface ClippedSettings extends NetworkSettings {
  /** Largest norm of a gradient. */
  readonly clip: number;
}

/** Settings of all models at one confounding strength. */
export interface PublishedSettings {
  readonly crn: { readonly encoder: HeadSettings; readonly decoder: HeadSettings };
  readonly ct: HeadSettings;
  readonly gnet: HeadSettings;
  readonly rmsn: Readonly<Record<"treatment" | "history" | "encoder" | "decoder", ClippedSettings>>;
}

/** Epochs of the reference: CRN, G-Net and RMSN 100, the Causal Transformer 150. */
export const EPOCHS = { crn: 100, gnet: 100, rmsn: 100, ct: 150 } as const;

const head = (learningRate: number, batch: number, hidden: number, br: number, fc: number, dropout: number) => ({
  ...{ learningRate, batch, hidden, br, fc, dropout },
});
const clipped = (hidden: number, dropout: number, batch: number, clip: number, learningRate: number) => ({
  ...{ hidden, dropout, batch, clip, learningRate },
});

const small = head(1e-3, 128, 24, 18, 36, 0.1), large = head(1e-3, 64, 24, 24, 96, 0.2);
const decoderOf = (hidden: number) => head(1e-3, 1024, hidden, 24, 12, 0.1);
const rmsnEncoder = clipped(12, 0.1, 128, 0.5, 1e-2);

const settings: Readonly<Record<Gamma, PublishedSettings>> = {
  0: {
    crn: { encoder: small, decoder: head(1e-3, 512, 18, 24, 24, 0.2) },
    ct: head(1e-3, 128, 16, 12, 24, 0.1),
    gnet: head(1e-2, 256, 24, 18, 72, 0.1),
    rmsn: {
      treatment: clipped(6, 0.2, 64, 1, 1e-2),
      history: clipped(8, 0.3, 128, 1, 1e-2),
      encoder: rmsnEncoder,
      decoder: clipped(32, 0.2, 1024, 2, 1e-3),
    },
  },
  1: {
    crn: { encoder: small, decoder: decoderOf(18) },
    ct: head(1e-3, 128, 16, 12, 24, 0.1),
    gnet: head(1e-2, 256, 24, 18, 72, 0.1),
    rmsn: {
      treatment: clipped(8, 0.2, 64, 2, 1e-2),
      history: clipped(12, 0.5, 256, 2, 1e-2),
      encoder: rmsnEncoder,
      decoder: clipped(32, 0.2, 1024, 2, 1e-3),
    },
  },
  2: {
    crn: { encoder: large, decoder: decoderOf(24) },
    ct: head(1e-2, 128, 16, 8, 32, 0.1),
    gnet: head(1e-3, 64, 24, 24, 96, 0.2),
    rmsn: {
      treatment: clipped(6, 0.2, 64, 1, 1e-2),
      history: clipped(12, 0.5, 256, 2, 1e-2),
      encoder: rmsnEncoder,
      decoder: clipped(32, 0.3, 512, 4, 1e-3),
    },
  },
  3: {
    crn: { encoder: large, decoder: head(1e-2, 256, 24, 18, 9, 0.1) },
    ct: head(1e-3, 128, 16, 12, 24, 0.1),
    gnet: head(1e-2, 256, 24, 18, 72, 0.1),
    rmsn: {
      treatment: clipped(6, 0.2, 256, 2, 1e-2),
      history: clipped(16, 0.1, 256, 1, 1e-3),
      encoder: rmsnEncoder,
      decoder: clipped(64, 0.1, 1024, 4, 1e-2),
    },
  },
  4: {
    crn: { encoder: large, decoder: decoderOf(24) },
    ct: head(1e-2, 128, 12, 16, 48, 0.1),
    gnet: head(1e-2, 256, 24, 18, 72, 0.1),
    rmsn: {
      treatment: clipped(8, 0.2, 64, 2, 1e-2),
      history: clipped(16, 0.5, 128, 2, 1e-4),
      encoder: rmsnEncoder,
      decoder: clipped(64, 0.1, 1024, 4, 1e-2),
    },
  },
};

/**
 * What is published for a confounding strength.
 *
 * @throws {RangeError} Where nothing is.
 */
export function publishedSettings(gamma: number): PublishedSettings {
  const found = GAMMAS.find((known) => known === gamma);
  if (found === undefined) {
    throw new RangeError(
      `settings are published for gamma ${GAMMAS.join(", ")}, but it is ${gamma}; pass settings of your own`,
    );
  }
  return settings[found];
}
