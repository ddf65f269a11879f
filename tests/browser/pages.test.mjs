// Walks through the pages in a real browser, as a visitor would, and keeps a screenshot of each.
//
// BASE_URL      where the stack answers (http://localhost)
// CHROMIUM      the browser's program (/usr/bin/chromium)
// SCREENSHOTS   where the pictures go (screenshots/ beside this file)

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { chromium } from "playwright-core";

const base = process.env.BASE_URL ?? "http://localhost";
const pictures = process.env.SCREENSHOTS ?? path.join(import.meta.dirname, "screenshots");

// The challenge's answer on test_db, which every built-in data set shares.
const CHALLENGE = [
  ["223595", "Chiranjit", "Dredge", "1994-11-10"],
  ["270794", "Dannz", "Zhang", "1990-10-24"],
  ["284045", "Fun", "Seiwald", "1994-06-24"],
  ["235729", "Henk", "Anger", "1993-01-19"],
  ["74344", "Hiroyasu", "Provine", "1994-11-25"],
  ["424584", "Kagan", "Dredge", "1994-02-26"],
  ["80850", "Koldo", "Luit", "1993-11-19"],
  ["433260", "Make", "Olivero", "1991-06-01"],
  ["248758", "Snehasis", "Muhlberg", "1991-07-16"],
];

let browser;
let page;
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
  page = await browser.newPage({ viewport: { width: 1200, height: 900 }, javaScriptEnabled: false });
  complaints = [];
  page.on("console", (message) => complaints.push(message.text()));
  page.on("response", (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`);
  });
  page.on("requestfailed", (request) => complaints.push(`failed ${request.url()}`));
});

afterEach(async () => {
  await page.close();
  // Nothing missing, nothing refused by the Content-Security-Policy, nothing from elsewhere.
  assert.deepEqual(complaints, []);
});

const open = async (address) => {
  const answer = await page.goto(new URL(address, base).href);
  assert.equal(answer.status(), 200);
};
const picture = (name) => page.screenshot({ path: path.join(pictures, `${name}.png`), fullPage: true });
const rows = async () =>
  Promise.all(
    (await page.locator("main table tbody tr").all()).map(async (row) =>
      (await row.locator("th, td").allInnerTexts()).map((text) => text.trim()),
    ),
  );

test("the overview counts the employees and says who served it", async () => {
  await open("/");
  await picture("overview");
  assert.match(await page.locator("main").innerText(), /[1-9][0-9,]*/);
  assert.equal((await rows()).length >= 9, true);
  const footer = await page.locator("footer").innerText();
  assert.match(footer, /employees/);
  assert.match(footer, /test_db|sample/);
});

test("the challenge's page gives the nine rows in their order", async () => {
  await open("/show");
  await picture("show");
  const found = (await rows()).map((cells) => cells.join(" "));
  assert.equal(found.length, CHALLENGE.length);
  CHALLENGE.forEach((expected, index) => {
    for (const text of [...expected, "1965-02-01"]) assert.ok(found[index].includes(text), `${text} in ${found[index]}`);
  });
});

test("a search finds people by the start of a name, and one click opens a person", async () => {
  await open("/employees");
  await page.getByLabel(/name/i).first().fill("chiranjit dredge");
  await page.locator("main form").locator("button, input[type=submit]").first().click();
  await page.waitForURL(/chiranjit/);
  await picture("search");
  const found = await rows();
  assert.ok(found.length > 0);
  for (const cells of found) assert.match(cells.join(" "), /Chiranjit.*Dredge/);
  await page.getByRole("link", { name: /223595|Chiranjit/ }).first().click();
  await page.waitForURL(/\/employees\/\d+$/);
  await picture("employee");
  assert.match(await page.locator("main").innerText(), /Chiranjit Dredge/);
});

test("pagination goes forward and back to the same rows", async () => {
  await open("/employees");
  const first = await rows();
  await picture("employees");
  await page.getByRole("link", { name: /next/i }).first().click();
  await page.waitForURL(/cursor|after|page/);
  const second = await rows();
  assert.notDeepEqual(second, first);
  assert.equal(second.some((cells) => first.some((other) => other[0] === cells[0])), false);
  await page.getByRole("link", { name: /previous|back/i }).first().click();
  assert.deepEqual(await rows(), first);
});

test("a department leads to its people", async () => {
  await open("/departments");
  await picture("departments");
  assert.equal((await rows()).length, 9);
  await page.getByRole("link", { name: "Development" }).first().click();
  await page.waitForURL(/\/departments\/d005$/);
  await picture("department");
  assert.match(await page.locator("main").innerText(), /Development/);
});

test("the salaries of those with one title are shown", async () => {
  await open("/salaries");
  const everybody = await page.locator(".figures").innerText();
  const form = page.locator("main form");
  await form.getByLabel("Title", { exact: true }).selectOption("Engineer");
  await Promise.all([page.waitForURL(/title=Engineer/), form.getByRole("button", { name: "Show" }).click()]);
  await picture("salaries");
  assert.equal(await form.getByLabel("Title", { exact: true }).inputValue(), "Engineer");
  const figures = await page.locator(".figures").innerText();
  assert.notEqual(figures, everybody);
  for (const figure of [/[1-9][0-9,]*\s+people/, /[1-9][0-9,]*\s+median/]) {
    assert.match(everybody, figure);
    assert.match(figures, figure);
  }
  assert.ok((await page.locator("main svg[role=img]").filter({ visible: true }).count()) > 0);
});

test("a search that cannot be made keeps what was entered, and goes on from there", async () => {
  await page.goto(new URL("/employees", base).href);
  const search = () => Promise.all([page.waitForNavigation(), page.getByRole("button", { name: "Search" }).click()]);
  await page.getByLabel("Name", { exact: true }).fill("one two three");
  await page.getByLabel("Gender").selectOption("F");
  await search();
  await picture("bad-search");
  assert.match(await page.locator("main").innerText(), /q is "one two three": give the beginning of a first name/);
  const name = page.getByLabel("Name", { exact: true });
  assert.equal(await name.inputValue(), "one two three");
  assert.equal(await name.getAttribute("aria-invalid"), "true");
  assert.equal(await page.getByLabel("Gender").inputValue(), "F");
  await name.fill("ka");
  await search();
  assert.match(page.url(), /gender=F/);
  assert.ok((await page.locator("tbody tr").count()) > 0);
  complaints = complaints.filter((text) => !text.includes("400"));
});

test("a wrong address is answered with a page that leads back", async () => {
  const answer = await page.goto(new URL("/employees/1", base).href);
  assert.equal(answer.status(), 404);
  await picture("not-found");
  await page.getByRole("link", { name: /overview|tandem/i }).first().click();
  assert.equal(new URL(page.url()).pathname, "/");
  complaints = complaints.filter((text) => !text.includes("404"));
});
