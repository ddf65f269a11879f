// Every page on a desktop and on a phone, in light and in dark, as its visitors see it: axe-core looks for what keeps
// people out, and nothing may be cut off. A screenshot of each is kept.
//
// BASE_URL, CHROMIUM, SCREENSHOTS: as in pages.test.mjs

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const base = process.env.BASE_URL ?? "http://localhost";
const pictures = process.env.SCREENSHOTS ?? path.join(import.meta.dirname, "screenshots");

// Name of the picture, address, status. 223595 is one of the challenge's nine, whom every built-in data set has.
const PAGES = [
  ["overview", "/", 200],
  ["show", "/show", 200],
  ["employees", "/employees", 200],
  ["employees-filtered", "/employees?q=ka&department=d005&gender=M&status=current&sort=name", 200],
  ["employee", "/employees/223595", 200],
  ["departments", "/departments", 200],
  ["department", "/departments/d005", 200],
  ["salaries", "/salaries", 200],
  ["salaries-group", "/salaries?department=d005&title=Senior+Engineer&gender=F", 200],
  ["salaries-nobody", "/salaries?title=nobody+has+this+title", 200],
  ["not-found", "/employees/1", 404],
  ["bad-search", "/employees?q=one+two+three", 400],
  ["bad-request", "/salaries?gender=neither", 400],
];
const SCREENS = [
  ["desktop", { width: 1200, height: 900 }],
  ["phone", { width: 390, height: 844 }],
];

let browser;
let axe;

before(async () => {
  await mkdir(pictures, { recursive: true });
  axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
});

after(async () => {
  await browser?.close();
});

// What hangs over the edge of the screen, of its table's box or of its chart. Runs in the page.
const cutOff = () => {
  const found = [];
  const screen = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > screen) found.push(`the page is ${document.documentElement.scrollWidth} px wide`);
  const within = (inner, outer) => inner.left >= outer.left - 1 && inner.right <= outer.right + 1 && inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
  for (const element of document.querySelectorAll("body *")) {
    const box = element.getBoundingClientRect();
    if (!element.checkVisibility() || box.width === 0 || element.matches(".skip")) continue;
    // A table may scroll in its own box; whatever names it, and all else, must not.
    const table = element.closest(".table");
    const chart = element.parentElement.closest("svg[role=img]");
    if (chart && element.matches("text, rect")) {
      if (!within(box, chart.getBoundingClientRect())) found.push(`"${element.textContent}" leaves its chart`);
    } else if (!chart && (!table || table === element) && (box.left < -1 || box.right > screen + 1)) {
      found.push(`<${element.localName}> "${element.textContent.trim().slice(0, 40)}"`);
    }
  }
  return found;
};

for (const [screen, viewport] of SCREENS) {
  for (const colorScheme of ["light", "dark"]) {
    test(`everybody can read every page on a ${screen} in ${colorScheme}`, async (t) => {
      // Our policy would keep axe-core out; pages.test.mjs sees that it is kept.
      const context = await browser.newContext({ viewport, colorScheme, bypassCSP: true });
      t.after(() => context.close());
      for (const [name, address, status] of PAGES) {
        await t.test(name, async () => {
          const page = await context.newPage();
          const answer = await page.goto(new URL(address, base).href);
          assert.equal(answer.status(), status);
          await page.screenshot({ path: path.join(pictures, `${screen}-${colorScheme}-${name}.png`), fullPage: true });
          assert.deepEqual(await page.evaluate(cutOff), []);
          // Every chart has its figures beside it, behind a click or on the page.
          for (const details of await page.locator("main details").all()) {
            await details.locator("summary").click();
            await details.locator("table").waitFor();
          }
          assert.deepEqual(await page.evaluate(cutOff), [], "with the tables open");
          await page.addScriptTag({ content: axe });
          const { violations } = await page.evaluate(() => globalThis.axe.run());
          // Landmarks are "moderate" to axe-core, and how many people find their way.
          const grave = violations.filter(
            ({ id, impact }) => ["serious", "critical"].includes(impact) || id === "region" || id.startsWith("landmark-"),
          );
          assert.deepEqual(grave.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`), []);
          await page.close();
        });
      }
    });
  }
}

test("on paper there are the figures and charts, and nothing to click on", async (t) => {
  const page = await browser.newPage({ viewport: { width: 800, height: 1100 }, colorScheme: "dark" });
  t.after(() => page.close());
  await page.emulateMedia({ media: "print", colorScheme: "dark" });
  for (const [name, address, status] of PAGES.filter(([, , status]) => status === 200)) {
    const answer = await page.goto(new URL(address, base).href);
    assert.equal(answer.status(), status);
    await page.screenshot({ path: path.join(pictures, `print-${name}.png`), fullPage: true });
    assert.deepEqual(await page.locator("nav, form, summary").filter({ visible: true }).count(), 0, address);
    assert.equal(await page.locator("h1").isVisible(), true, address);
    // What a click would show is there as well.
    const tables = await page.locator("main details table").filter({ visible: true }).count();
    assert.equal(tables, await page.locator("main details").count(), `${address}: figures behind the charts`);
    if (["/", "/departments/d005", "/salaries"].includes(address)) {
      assert.ok(tables > 0, `${address}: no figures`);
      assert.ok((await page.locator("main svg[role=img]").filter({ visible: true }).count()) > 0, `${address}: no chart`);
      // All rows: no table has a box that it would have to be scrolled in.
      const hidden = await page.locator("main details .table").evaluateAll((boxes) =>
        boxes.filter((box) => box.scrollHeight > box.clientHeight + 1).length,
      );
      assert.equal(hidden, 0, `${address}: tables that are cut off`);
    }
    // Dark ink on white paper, whatever the screen has.
    const ink = await page.evaluate(() => getComputedStyle(document.documentElement).color);
    assert.ok(ink.match(/\d+/g).every((part) => Number(part) < 64), `${address}: ${ink}`);
  }
});

test("the keyboard leads past the navigation into the content, and shows where it is", async (t) => {
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
  t.after(() => page.close());
  await page.goto(new URL("/departments", base).href);
  // What has the focus, which must be seen to have it.
  const focused = () =>
    page.evaluate(() => {
      const element = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      const box = element.getBoundingClientRect();
      return {
        name: element.textContent.trim(),
        content: element.closest("main") !== null,
        link: element.matches("a[href]"),
        shown:
          element.matches(":focus-visible") && outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 &&
          box.left >= 0 && box.top >= 0 && box.right <= innerWidth && box.bottom <= innerHeight,
      };
    });
  await page.keyboard.press("Tab");
  assert.deepEqual(await focused(), { name: "Skip to the content", content: false, link: true, shown: true });
  await page.keyboard.press("Enter");
  await page.locator("main:focus").waitFor();
  await page.keyboard.press("Tab");
  const { name, ...rest } = await focused();
  assert.deepEqual(rest, { content: true, link: true, shown: true }, name);
  assert.ok(name.length > 0);
});
