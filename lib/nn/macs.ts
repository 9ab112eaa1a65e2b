/**
 * Counting multiply-accumulates (MACs). Vision papers print MACs and call them FLOPs; one MAC is two FLOPs.
 *
 * A block of width C at n tokens with an MLP m times as wide: attention `4nC² + 2n²C`, MLP `2mnC²`. A reduction between
 * the two makes the MLP cheaper already in its own block. Norms, softmax and the reducer itself are not counted, as in
 * the papers. The formula gives the printed digits of DeiT, ToMe and EViT (specification of reduction, section 4.6).
 *
 * @module
 */

/** The sizes of a Vision Transformer that its cost follows from. */
export interface ViTShape {
  readonly width: number;
  readonly depth: number;
  readonly mlpWidth: number;
  readonly patches: number;
  /** Numbers in one patch: its side squared times its colours. */
  readonly patchValues: number;
  readonly classes: number;
}

/** Tokens that enter a block and tokens that leave it. */
export interface TokenCount {
  readonly in: number;
  readonly out: number;
}

/**
 * MACs of one image through a Vision Transformer whose block l sees `counts[l]`.
 *
 * @example DeiT-S without reduction costs 4.6 GMACs
 * ```ts
 * import assert from "node:assert/strict";
 * const deitS = { width: 384, depth: 12, mlpWidth: 1536, patches: 196, patchValues: 768, classes: 1000 };
 * const macs = vitMACs(deitS, Array(12).fill({ in: 197, out: 197 }));
 * assert.equal((macs / 1e9).toFixed(3), "4.599");
 * ```
 */
export function vitMACs(shape: ViTShape, counts: readonly TokenCount[]): number {
  const { width, depth, mlpWidth, patches, patchValues, classes } = shape;
  if (counts.length !== depth) {
    throw new RangeError(
      `token counts are needed for each of ${depth} blocks, but there are ${counts.length}; pass one per block`,
    );
  }
  let macs = patches * patchValues * width + width * classes;
  for (const count of counts) {
    macs += 4 * count.in * width ** 2 + 2 * count.in ** 2 * width; // attention
    macs += 2 * count.out * width * mlpWidth;
  }
  return macs;
}
