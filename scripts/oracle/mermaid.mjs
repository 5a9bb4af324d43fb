// Draws flowcharts with the real Mermaid library, in headless Chromium.
//
//   node mermaid.mjs FILE BROWSER
//
// FILE is the library as one script (mermaid.min.js), BROWSER the path of Chromium. It has to start in a folder where
// playwright-core is installed.
// In:   a JSON list of texts, on standard input
// Out:  a JSON list: {"labels": […], "links": N, "link_labels": […], "foreign": N} or {"error": "why not"} for each.
//       `foreign` counts the elements that only a label of somebody else could have brought in.

import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

const { chromium } = createRequire(path.join(process.cwd(), 'here.js'))('playwright-core')

/** Runs in the page. */
async function draw(texts) {
  const drawn = []
  mermaid.initialize({ startOnLoad: false })
  for (const [number, text] of texts.entries()) {
    try {
      const { svg } = await mermaid.render(`drawing${number}`, text)
      const picture = document.createElement('div')
      picture.innerHTML = svg
      const said = (selector) => [...picture.querySelectorAll(selector)].map((element) => element.textContent)
      drawn.push({
        labels: said('.nodeLabel'),
        links: picture.querySelectorAll('path.flowchart-link').length,
        link_labels: said('span.edgeLabel').filter(Boolean),
        foreign: picture.querySelectorAll('script, img, iframe, a, object, math').length + (window.hacked ?? 0)
      })
    } catch (error) {
      drawn.push({ error: String(error.message ?? error) })
    }
  }
  return drawn
}

const browser = await chromium.launch({
  executablePath: process.argv[3],
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--host-resolver-rules=MAP * ~NOTFOUND']
})
try {
  const page = await browser.newPage()
  await page.setContent('<html><body></body></html>')
  await page.addScriptTag({ path: process.argv[2] })
  const drawn = await page.evaluate(draw, JSON.parse(fs.readFileSync(0, 'utf8')))
  process.stdout.write(JSON.stringify(drawn))
} finally {
  await browser.close()
}
