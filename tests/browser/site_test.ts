/** The static site as its readers see it: from a disk, on a phone and on a desk, in light and in dark. */
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { buildSite } from "../../lib/notebook/site_build.ts";
import { readReference } from "../../lib/notebook/site_reference.ts";
import { root, walk } from "../../lib/notebook/paths.ts";
import { CHROMIUM_FLAGS, findChromium } from "./lab.ts";

const chromiumPath = findChromium();
if (!chromiumPath) {
  console.log("The test of the site is skipped: there is no Chromium; install it, or set CHROME_PATH.");
}

const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 900 };
const pictures = Deno.env.get("TESSERA_SCREENSHOTS");

/** What a page shows of itself. */
interface Look {
  background: string;
  ink: string;
  /** How far the page reaches beyond the window, and what does. */
  overflow: number;
  wide: string[];
  fonts: string[];
  /** Images that did not load. */
  broken: string[];
}

async function lookAt(page: Page): Promise<Look> {
  return await page.evaluate<Look>(`(async () => {
    for (const image of document.images) image.loading = "eager";
    await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
    await document.fonts.ready;
    const style = getComputedStyle(document.body);
    const width = document.documentElement.clientWidth;
    const wide = [...document.querySelectorAll("body *")].filter((element) =>
      element.getBoundingClientRect().right > width + 1 &&
      !element.closest("pre, .wide, .katex-display, svg, .live, .contents")
    );
    return {
      background: style.backgroundColor,
      ink: style.color,
      overflow: document.documentElement.scrollWidth - width,
      wide: wide.map((element) => element.outerHTML.slice(0, 120)),
      fonts: [...document.fonts].filter(({ status }) => status === "loaded").map(({ family }) => family),
      broken: [...document.images].filter(({ naturalWidth }) => naturalWidth === 0).map(({ src }) => src.slice(0, 200)),
    };
  })()`);
}

/** The brightness of a colour as browsers write it, from 0 to 255. */
function brightness(colour: string): number {
  const [red, green, blue] = colour.match(/\d+/g)!.map(Number);
  return 0.299 * red + 0.587 * green + 0.114 * blue;
}

Deno.test("the site can be read from a disk, on a phone and on a desk, in light and in dark", {
  ignore: !chromiumPath,
}, async (t) => {
  const folder = Deno.makeTempDirSync({ prefix: "tessera-site-" });
  let browser: Browser | undefined;
  try {
    buildSite(folder, undefined, await readReference());
    browser = await chromium.launch({ executablePath: chromiumPath, args: CHROMIUM_FLAGS });
    const asked: string[] = [];
    const failed: string[] = [];
    const open = async (name: string, viewport: typeof PHONE, colorScheme: "light" | "dark" = "light") => {
      const page = await browser!.newPage({ viewport, colorScheme });
      page.setDefaultTimeout(15_000);
      page.on("request", (request) => {
        if (!/^(file|data|blob):/.test(request.url())) asked.push(request.url());
      });
      page.on("requestfailed", (request) => failed.push(request.url().slice(0, 200)));
      page.on("pageerror", (error) => failed.push(`${name}: ${error.message}`));
      await page.goto(pathToFileURL(`${folder}/${name}`).href);
      return page;
    };
    const picture = async (page: Page, name: string, whole = false) => {
      if (pictures) await page.screenshot({ path: `${pictures}/${name}.png`, fullPage: whole });
    };
    const pages = walk(folder).map((path) => path.slice(folder.length + 1)).filter((name) => name.endsWith(".html"));
    const notebooks = pages.filter((name) => /^notebooks\/\d/.test(name));
    assert.ok(notebooks.length >= 2);

    await t.step("no page is wider than a phone, in either theme, and every picture is there", async () => {
      const some = pages.filter((name) => !name.includes("/") || name.startsWith("notebooks/"));
      for (const name of Deno.env.has("TESSERA_FULL") ? pages : some) {
        for (const theme of ["light", "dark"] as const) {
          if (theme === "dark" && !notebooks.includes(name) && name !== "index.html") continue; // one style sheet for all
          const page = await open(name, PHONE, theme);
          const { overflow, wide, broken } = await lookAt(page);
          assert.ok(overflow <= 0, `${name} is ${overflow} pixels too wide: ${wide[0]}`);
          assert.deepEqual(broken, [], name);
          await picture(page, `phone_${theme}_${name.replaceAll("/", "_")}`, true);
          await page.close();
        }
      }
    });

    await t.step("both themes: what the system wishes, and what the reader chooses", async () => {
      for (const [wish, isDark] of [["light", false], ["dark", true]] as const) {
        const page = await open("index.html", DESK, wish);
        const { background, ink } = await lookAt(page);
        assert.equal(brightness(background) < brightness(ink), isDark, `${wish}: ${ink} on ${background}`);
        assert.ok(Math.abs(brightness(background) - brightness(ink)) > 150);
        await picture(page, `desk_${wish}_index`, true);
        if (wish === "light") {
          const button = page.getByRole("button", { name: /Theme/ });
          await button.click(); // auto, light, dark
          await button.click();
          assert.ok(brightness((await lookAt(page)).background) < 100);
          await page.reload();
          assert.ok(brightness((await lookAt(page)).background) < 100, "the choice is kept");
        }
        await page.close();
      }
    });

    await t.step("axe-core finds nothing serious, in either theme", async () => {
      const axe = await Deno.readTextFile(`${root}/node_modules/axe-core/axe.min.js`);
      const some = [
        "index.html",
        "methods.html",
        "api/tensor.html",
        "notebooks/00_start.html",
        "notebooks/40_does_less_see_better.html",
      ];
      for (const name of some.filter((name) => pages.includes(name))) {
        for (const theme of ["light", "dark"] as const) {
          const page = await open(name, DESK, theme);
          await page.evaluate(axe);
          const found = await page.evaluate(`axe.run({ preload: false }).then(({ violations }) => violations
            .filter(({ impact }) => impact === "serious" || impact === "critical")
            .map(({ id, nodes }) => id + ": " + nodes.slice(0, 3).map(({ html }) => html.slice(0, 160)).join(" ... ")))`);
          assert.deepEqual(found, [], `${name}, ${theme}`);
          await page.close();
        }
      }
    });

    await t.step("mathematics is set in the site's own fonts", async () => {
      const page = await open("notebooks/10_merge_or_prune.html", DESK);
      await page.locator(".katex").first().scrollIntoViewIfNeeded();
      const { fonts } = await lookAt(page);
      assert.ok(fonts.some((family) => family.includes("KaTeX_Math")), fonts.join());
      assert.ok(await page.locator(".katex-display").count() > 0);
      assert.equal(await page.locator(".katex-error").count(), 0);
      await page.close();
    });

    await t.step(
      "a figure is a picture until it is pointed at, then it is plotly's, in the page's colours",
      async () => {
        for (const [viewport, theme] of [[DESK, "dark"], [PHONE, "light"]] as const) {
          const page = await open("notebooks/10_merge_or_prune.html", viewport, theme);
          assert.equal(await page.evaluate(`typeof Plotly`), "undefined", "plotly.js is loaded when it is needed");
          const figures = page.locator("figure.plotly");
          assert.ok(await figures.count() >= 5);
          const curves = page.locator("figure.plotly.themed").first();
          await picture(page, `${theme}_${viewport.width}_still`, true);
          if (viewport === DESK) await curves.hover();
          else await curves.click();
          await curves.locator(".live .main-svg").first().waitFor();
          const drawn = await curves.evaluate((figure) => {
            const document = figure.ownerDocument;
            const title = figure.querySelector(".live .gtitle")!;
            return {
              fill: document.defaultView!.getComputedStyle(title).fill,
              ink: document.defaultView!.getComputedStyle(document.body).color,
              width: figure.querySelector(".live")!.getBoundingClientRect().width,
              room: figure.getBoundingClientRect().width,
            };
          });
          assert.equal(drawn.fill, drawn.ink);
          assert.equal(
            await curves.locator('.modebar-btn[data-title*="loud"], .modebar-btn[data-title*="hare"]').count(),
            0,
          );
          assert.ok(drawn.width <= drawn.room + 1, JSON.stringify(drawn));
          for (const figure of await figures.all()) {
            await figure.scrollIntoViewIfNeeded();
            await figure.click();
            await figure.locator(".live .main-svg").first().waitFor();
          }
          assert.ok((await lookAt(page)).overflow <= 0);
          await picture(page, `${theme}_${viewport.width}_live`, true);
          await page.close();
        }
      },
    );

    await t.step("nothing outside was asked for, and nothing was missing", () => {
      assert.deepEqual(asked, []);
      assert.deepEqual(failed, []);
    });
  } finally {
    await browser?.close();
    Deno.removeSync(folder, { recursive: true });
  }
});
