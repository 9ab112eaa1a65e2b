/**
 * Reducers for models of sequences: encoders of text, and state-space models. The control of all of them is `random`. What
 * works on attention may fail where a state is carried from token to token: Zhan et al., "Rethinking Token Reduction for State
 * Space Models", EMNLP 2024, arXiv:2410.14725, section 3.
 *
 * @module
 */
import { ltpMethod } from "./ltp.ts";
import { powerbertMethod } from "./powerbert.ts";
import { spattenMethod } from "./spatten.ts";
import { topVimMethod, torSsmMethod } from "./state_space.ts";

/** Every reducer for text encoders and state-space models under its name. */
export const sequenceMethods = {
  powerbert: powerbertMethod,
  ltp: ltpMethod,
  spatten: spattenMethod,
  torSsm: torSsmMethod,
  topVim: topVimMethod,
} as const;

export * from "./ltp.ts";
export * from "./powerbert.ts";
export * from "./spatten.ts";
export * from "./state_space.ts";
