/**
 * A language of highlight.js, for its core to take.
 *
 * @module
 */
declare const language: unknown;

export default language;
