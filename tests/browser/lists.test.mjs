// The list of employees in a real browser with JavaScript: it follows its form.
//
// BASE_URL      where the stack answers (http://localhost)
// CHROMIUM      the browser's program (/usr/bin/chromium)
// SCREENSHOTS   where the pictures go (screenshots/ beside this file)

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { chromium } from "playwright-core";

const base = process.env.BASE_URL ?? "http://localhost";
const pictures = process.env.SCREENSHOTS ?? path.join(import.meta.dirname, "screenshots");

let browser;
let page;
let loads;
let complaints;

before(async () => {
  await mkdir(pictures, { recursive: true });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
});

after(async () => {
  await browser?.close();
});

beforeEach(async () => {
  page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
  loads = 0;
  complaints = [];
  page.on("domcontentloaded", () => loads++);
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
});

afterEach(async () => {
  await page.close();
  // No mistake of the script's, and nothing refused by the Content-Security-Policy.
  assert.deepEqual(complaints, []);
});

const open = async (address) => {
  const answer = await page.goto(new URL(address, base).href);
  assert.equal(answer.status(), 200);
};
const name = () => page.getByLabel("Name", { exact: true });
const heading = () => page.locator("#results h2");
const announced = () => page.getByRole("status");
const query = () => Object.fromEntries(new URL(page.url()).searchParams);
const rows = async () =>
  Promise.all(
    (await page.locator("#results tbody tr").all()).map(async (row) => (await row.locator("th, td").allInnerTexts()).join(" ")),
  );
const follow = (name) =>
  Promise.all([page.waitForNavigation(), page.getByRole("link", { name, exact: true }).click()]);
// Waits until the list shows the answer to a search of which `part` is a part of the address.
const answered = async (part) => {
  await page.waitForURL((url) => url.href.includes(part));
  await page.locator("#results:not([aria-busy])").waitFor();
};

test("the list follows what is typed, without another page, and the caret stays", async () => {
  await open("/employees");
  await name().pressSequentially("chiranjit dre", { delay: 20 });
  await answered("q=chiranjit+dre");
  const found = await rows();
  assert.ok(found.length > 0);
  for (const row of found) assert.match(row, /Chiranjit Dre/);
  assert.equal(await announced().innerText(), await heading().innerText());
  assert.match(await heading().innerText(), /^[0-9,]+ employees? found$/);
  assert.equal(await name().evaluate((field) => document.activeElement === field), true);
  // In the middle of the word, where the next letter goes as well.
  await name().press("ArrowLeft");
  await name().press("Backspace");
  await answered("q=chiranjit+de");
  assert.equal(await name().evaluate((field) => field.selectionStart), "chiranjit d".length);
  assert.equal(loads, 1);
  await page.screenshot({ path: path.join(pictures, "live-filter.png"), fullPage: true });
});

test("the address always leads to the list that is shown", async () => {
  await open("/employees?sort=name&order=desc");
  await page.getByLabel("Gender").selectOption("F");
  await answered("gender=F");
  await page.getByLabel("Works here").selectOption("former");
  await answered("status=former");
  const shown = await rows();
  const { sort, order, gender, status, ...others } = query();
  assert.deepEqual({ sort, order, gender, status }, { sort: "name", order: "desc", gender: "F", status: "former" });
  assert.deepEqual(others, {});
  await page.reload();
  assert.deepEqual(await rows(), shown);
  assert.equal(await page.getByLabel("Gender").inputValue(), "F");
});

test("a filter that is changed starts at the first page, and the pages behind it keep it", async () => {
  await open("/employees");
  await follow("Next page");
  await page.getByLabel("Gender").selectOption("M");
  await answered("gender=M");
  assert.equal("cursor" in query(), false);
  const first = await rows();
  await follow("Next page");
  assert.equal(query().gender, "M");
  const second = await rows();
  assert.equal(second.some((row) => first.includes(row)), false);
  await follow("Previous page");
  assert.deepEqual(await rows(), first);
  await follow("Next page");
  await follow("First page");
  assert.deepEqual(await rows(), first);
});

test("back and forward lead to the list as it was", async () => {
  await open("/employees");
  await name().fill("kag");
  await answered("q=kag");
  const shown = await rows();
  await page.locator("#results tbody a").first().click();
  await page.waitForURL(/\/employees\/\d+$/);
  await page.goBack();
  await answered("q=kag");
  assert.deepEqual(await rows(), shown);
  assert.equal(await name().inputValue(), "kag");
  await name().fill("kaga");
  await answered("q=kaga");
  await page.goBack();
  assert.equal(page.url(), "about:blank");
  await page.goForward();
  await answered("q=kaga");
  assert.equal(await name().inputValue(), "kaga");
  for (const row of await rows()) assert.match(row, /Kaga/i);
});

test("every column can be sorted by, in both directions", async () => {
  await open("/employees?q=ka");
  const columns = ["Number", "Birth date", "Name", "Surname", "Gender", "Hire date"];
  for (const [index, label] of columns.entries()) {
    for (const direction of ["ascending", "descending"]) {
      const cell = page.locator("thead th").nth(index);
      if ((await cell.getAttribute("aria-sort")) === direction) continue;
      await follow(label);
      assert.equal(await cell.getAttribute("aria-sort"), direction, label);
      const values = await page.locator(`tbody :is(th, td):nth-child(${index + 1})`).allInnerTexts();
      // Numbers sort as numbers, and F comes after M.
      const key = { Number, Gender: (text) => "MF".indexOf(text) }[label] ?? ((text) => text.toLowerCase());
      const sorted = values.map(key).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
      if (direction === "descending") sorted.reverse();
      assert.deepEqual(values.map(key), sorted, `${label} ${direction}`);
    }
  }
});

test("an answer that comes too late does not replace a newer one", async () => {
  await open("/employees");
  let release;
  const held = new Promise((resolve) => (release = resolve));
  let asked;
  const first = new Promise((resolve) => (asked = resolve));
  await page.route(/q=zz/, async (route) => {
    asked();
    await held;
    // The browser has given it up by now.
    await route.continue().catch(() => {});
  });
  await name().fill("zz");
  await first;
  await name().fill("kagan");
  await answered("q=kagan");
  const shown = await rows();
  release();
  await page.unrouteAll({ behavior: "wait" });
  assert.ok(shown.length > 0);
  assert.deepEqual(await rows(), shown);
  assert.equal(query().q, "kagan");
});

test("what cannot be looked for is said in the place of the results, and the list comes back", async () => {
  await open("/employees");
  await name().fill("one two three");
  await page.getByText(/q is "one two three": give the beginning of a first name/).first().waitFor();
  assert.match(await announced().innerText(), /give the beginning of a first name/);
  assert.equal(await page.locator("#results table").count(), 0);
  // The section has its name still.
  assert.equal(await heading().innerText(), "This search cannot be made");
  await page.getByRole("region", { name: "This search cannot be made" }).waitFor();
  await name().fill("kagan");
  await answered("q=kagan");
  assert.ok((await rows()).length > 0);
  // The browser itself notes the 400.
  complaints = complaints.filter((text) => !text.includes("400"));
});

test("the page of a search that cannot be made follows its form as well", async () => {
  await page.goto(new URL("/employees?q=one+two+three", base).href);
  assert.equal(await name().getAttribute("aria-invalid"), "true");
  await name().fill("kagan");
  await answered("q=kagan");
  assert.ok((await rows()).length > 0);
  assert.equal(await name().getAttribute("aria-invalid"), null);
  complaints = complaints.filter((text) => !text.includes("400"));
});

test("a server that is away is said to be away", async () => {
  await open("/employees");
  await page.route(/q=/, (route) => route.abort());
  await name().fill("kagan");
  await page.locator("#results").getByText("The server cannot be reached.").waitFor();
  await page.unrouteAll();
  complaints = complaints.filter((text) => !text.includes("ERR_FAILED"));
});

for (const [status, title] of [[429, "Too Many Requests"], [502, "Bad Gateway"], [504, "Gateway Timeout"]]) {
  test(`a server that answers ${status} is busy or away, and has not misunderstood anything`, async () => {
    await open("/employees");
    const body = `<!doctype html><title>${status} ${title}</title><h1>${title}</h1><p>In nginx's words.</p>`;
    await page.route(/q=/, (route) => route.fulfill({ status, contentType: "text/html", body }));
    await name().fill("kagan");
    await page.locator("#results").getByText("The server is busy, or away for a moment.").waitFor();
    assert.equal(await heading().innerText(), title);
    assert.equal(await page.locator("#results[aria-busy]").count(), 0);
    await page.unrouteAll();
    await name().fill("kaga");
    await answered("q=kaga");
    assert.ok((await rows()).length > 0);
    complaints = complaints.filter((text) => !text.includes(`${status}`));
  });
}

test("a page that the browser has kept agrees with its form when it comes back", async () => {
  await open("/employees");
  await page.evaluate(() => {
    const field = document.querySelector("#q");
    field.value = "kagan";
    field.dispatchEvent(new Event("input", { bubbles: true }));
    // Before the list has followed.
    dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
    dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
  });
  await answered("q=kagan");
  assert.equal(await name().inputValue(), "kagan");
  // One that agrees stays as it is, on whatever page of the list.
  await open("/employees");
  await follow("Next page");
  const { href } = new URL(page.url());
  await page.evaluate(() => dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })));
  assert.equal(await page.locator("#results[aria-busy]").count(), 0);
  assert.equal(page.url(), href);
});

test("a search that is given up leaves nothing busy", async () => {
  await open("/employees");
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await page.route(/q=kag/, async (route) => {
    await held;
    await route.continue().catch(() => {});
  });
  await name().fill("kag");
  await page.locator("#results[aria-busy]").waitFor();
  await page.evaluate(() => dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })));
  assert.equal(await page.locator("#results[aria-busy]").count(), 0);
  release();
  await page.unrouteAll({ behavior: "wait" });
});

test("the whole list is a click away as a file", async () => {
  await open("/employees?sort=name");
  await name().fill("chiranjit");
  await answered("q=chiranjit");
  const [count] = (await heading().innerText()).match(/^[0-9,]+/);
  const total = Number(count.replaceAll(",", ""));
  for (const [link, file, lines] of [
    ["CSV", "employees-q-chiranjit-sort-name.csv", total + 1],
    ["JSON", "employees-q-chiranjit-sort-name.json", total + 2],
    ["NDJSON", "employees-q-chiranjit-sort-name.ndjson", total],
  ]) {
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: link, exact: true }).click(),
    ]);
    assert.equal(download.suggestedFilename(), file);
    const text = await readFile(await download.path(), "utf8");
    assert.equal(text.trimEnd().split("\n").length, lines, file);
  }
});
