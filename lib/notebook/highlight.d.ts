/**
 * What we use of highlight.js. Its own types bring those of browsers into every file of the project, where nothing has
 * them when it runs.
 *
 * @module
 */

/** The core, which knows no language. */
declare const core: {
  registerLanguage(name: string, language: unknown): void;
  getLanguage(name: string): object | undefined;
  highlight(code: string, options: { language: string }): { value: string };
};

export default core;
