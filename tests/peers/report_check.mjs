// Opens HTML reports in headless Chromium and fails on what a reader would stumble over.
//
//     mkdir -p /tmp/report-check && cd /tmp/report-check
//     npm install --ignore-scripts axe-core puppeteer-core
//     node REPOSITORY/tests/peers/report_check.mjs OUT REPORT.html…
//
// Each report is opened from its file, in light and dark, 390 and 1280 pixels wide, with every `<details>` closed and
// open, with scripts and without. It fails on messages on the console, on requests, on pages wider than the window,
// on serious or critical findings of axe, on controls that do nothing, on files over 2 MB. Screenshots and a PDF of
// each go to OUT. CHROMIUM names another browser than /usr/bin/chromium. Not run in CI, which has no browser; last
// run with axe-core 4.14.1 and Chromium 148.

import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// From the folder where it is run: nothing is installed in the repository.
const require = createRequire(path.join(process.cwd(), "package.json"));
const puppeteer = require("puppeteer-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const MOST_BYTES = 2_000_000;
const WIDTHS = [390, 1280];
const SCHEMES = ["light", "dark"];

const [out, ...files] = process.argv.slice(2);
if (!files.length) {
  console.error("usage: report_check.mjs OUT REPORT.html…");
  process.exit(2);
}
fs.mkdirSync(out, { recursive: true });

let failures = 0;
const check = (holds, what) => {
  if (!holds) {
    failures += 1;
    console.log(`  FAILED: ${what}`);
  }
};

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"],
});

/** A page with the report in it, and whatever it complained of. */
async function open(file, width, scheme, scripts) {
  const page = await browser.newPage();
  const complaints = [];
  page.on("console", (message) => complaints.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
  page.on("request", (request) => {
    if (!/^(file|data):/.test(request.url())) complaints.push(`request: ${request.url()}`);
  });
  await page.setJavaScriptEnabled(scripts);
  await page.setViewport({ width, height: 900 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(pathToFileURL(path.resolve(file)).href);
  return { page, complaints };
}

const overflow = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;

async function axeFindings(page) {
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document));
  return { violations, passes: passes.length };
}

/** What the script promises: sorting, filtering, hiding. */
async function controls(page) {
  return page.evaluate(() => {
    const wrong = [];
    const shown = (selector) => [...document.querySelectorAll(selector)].filter((e) => !e.hasAttribute("hidden"));
    const all = shown("tr[data-defence]").length;
    const first = document.querySelector("table.sortable");
    const order = () => [...first.tBodies[0].rows].map((row) => row.cells[0].textContent).join();
    const [before, button] = [order(), first.querySelector("thead button")];
    if (!button) return ["the script made no controls"];
    button.click();
    const up = order();
    button.click();
    if (up.split(",").reverse().join() !== order()) wrong.push("a second click does not turn the order round");
    if (![up, order()].some((now) => now !== before)) wrong.push("sorting changes nothing");
    const field = document.querySelector(".tools input");
    const type = (text) => {
      field.value = text;
      field.dispatchEvent(new Event("input"));
    };
    const name = first.tBodies[0].rows[0].dataset.defence;
    type(name);
    const left = shown("tr[data-defence]");
    if (!left.length || left.length >= all || left.some((row) => !row.dataset.defence.includes(name))) {
      wrong.push("the filter leaves the wrong lines");
    }
    type("");
    if (shown("tr[data-defence]").length !== all) wrong.push("an empty filter hides lines");
    const entry = document.querySelector(".legend button");
    if (entry) {
      const lines = () => shown(".curves svg [data-defence]").length;
      const drawn = lines();
      entry.click();
      if (lines() >= drawn) wrong.push("a legend's entry hides no line");
      if (entry.getAttribute("aria-pressed") !== "false") wrong.push("a legend's entry does not say that it is off");
      entry.click();
      if (lines() !== drawn) wrong.push("a legend's entry does not bring its lines back");
    }
    return wrong;
  });
}

for (const file of files) {
  const name = path.basename(path.dirname(path.resolve(file)));
  const bytes = fs.statSync(file).size;
  console.log(`${name}: ${(bytes / 1000).toFixed(0)} kB`);
  check(bytes < MOST_BYTES, `${bytes} bytes, at most ${MOST_BYTES}`);
  for (const scheme of SCHEMES) {
    for (const width of WIDTHS) {
      const { page, complaints } = await open(file, width, scheme, true);
      const wide = await page.evaluate(overflow);
      check(wide <= 0, `${width} ${scheme}: the page is ${wide} pixels too wide`);
      await page.screenshot({ path: path.join(out, `${name}-${width}-${scheme}.png`), fullPage: true });
      const serious = [];
      let [passes, others] = [0, 0];
      for (const opened of [false, true]) {
        await page.evaluate((opened) => {
          for (const details of document.querySelectorAll("details")) details.open = opened;
        }, opened);
        check((await page.evaluate(overflow)) <= 0, `${width} ${scheme}: too wide with details ${opened}`);
        const found = await axeFindings(page);
        passes = found.passes;
        const bad = found.violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
        serious.push(...bad);
        others += found.violations.length - bad.length;
      }
      for (const { id, impact, nodes } of serious) {
        check(false, `${width} ${scheme}: axe ${id} (${impact}), ${nodes.length} times, such as ${nodes[0].html.slice(0, 160)}`);
      }
      for (const wrong of await controls(page)) check(false, `${width} ${scheme}: ${wrong}`);
      check(!complaints.length, `${width} ${scheme}: ${complaints.slice(0, 3).join("; ")}`);
      console.log(`  ${width} ${scheme}: axe ${passes} rules pass, ${serious.length} serious, ${others} lesser; console ${complaints.length}`);
      await page.close();
    }
  }
  const { page: plain, complaints } = await open(file, 1280, "light", false);
  // Scripts of the page are off; those of this check go on.
  const silent = await plain.evaluate(() => ({
    controls: document.querySelectorAll("button, input").length,
    text: document.body.innerText.length,
  }));
  check(silent.controls === 0 && silent.text > 1000, "without scripts there are controls, or there is no text");
  check(!complaints.length, `without scripts: ${complaints.slice(0, 3).join("; ")}`);
  await plain.pdf({ path: path.join(out, `${name}.pdf`), format: "A4", margin: { top: "15mm", bottom: "15mm", left: "15mm", right: "15mm" } });
  console.log(`  without scripts: ${silent.controls} controls, ${silent.text} letters`);
  await plain.close();
}
await browser.close();
console.log(failures ? `${failures} failures` : "no failures");
process.exit(failures ? 1 : 0);
