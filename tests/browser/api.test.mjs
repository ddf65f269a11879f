// Tries the API out on its documentation page, as somebody would who wants to use it.
//
// BASE_URL, CHROMIUM and SCREENSHOTS as in pages.test.mjs.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const base = process.env.BASE_URL ?? "http://localhost";
const pictures = process.env.SCREENSHOTS ?? path.join(import.meta.dirname, "screenshots");

let browser;

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

for (const [name, viewport, colorScheme] of [
  ["desktop", { width: 1200, height: 900 }, "light"],
  ["phone-dark", { width: 390, height: 800 }, "dark"],
]) {
  test(`an operation can be tried out on a ${name}, and the browser has nothing to complain about`, async () => {
    const page = await browser.newPage({ viewport, colorScheme });
    const complaints = [];
    page.on("console", (message) => complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("requestfailed", (request) => complaints.push(`failed ${request.url()}`));
    page.on("request", (request) => {
      const { protocol, origin } = new URL(request.url());
      if (protocol !== "data:" && origin !== new URL(base).origin) complaints.push(`from elsewhere: ${request.url()}`);
    });

    await page.goto(new URL("/api/docs", base).href);
    const operation = page.locator("#operations-employees-getEmployee");
    await operation.waitFor();
    await page.screenshot({ path: path.join(pictures, `api-${name}.png`), fullPage: true });

    await operation.locator(".opblock-summary-control").click();
    await operation.getByRole("button", { name: "Try it out" }).click();
    await operation.getByPlaceholder("emp_no").fill("223595");
    await operation.getByRole("button", { name: "Execute" }).click();
    const answer = operation.locator(".live-responses-table .response").first();
    await answer.waitFor();
    await page.screenshot({ path: path.join(pictures, `api-tried-${name}.png`), fullPage: true });
    assert.match(await answer.locator(".response-col_status").innerText(), /^200/);
    assert.match(await answer.locator(".response-col_description").innerText(), /"last_name": "Dredge"/);
    assert.equal(await page.locator(".errors-wrapper").count(), 0);

    await page.close();
    assert.deepEqual(complaints, []);
  });
}

test("the documentation says what to do without JavaScript", async () => {
  const page = await browser.newPage({ javaScriptEnabled: false });
  await page.goto(new URL("/api/docs", base).href);
  await page.locator("noscript").getByRole("link", { name: "OpenAPI document" }).click();
  assert.equal(JSON.parse(await page.locator("body").innerText()).openapi, "3.1.0");
  await page.close();
});
