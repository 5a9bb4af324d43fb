// Converts workflows with the real ComfyUI web frontend, in headless Chromium.
//
//   node frontend.mjs URL [--tabs N] [--timeout SECONDS] [--object-info FILE]
//
// With --object-info the frontend gets that file's node classes in the place of the server's.
// It has to start in a folder where playwright-core is installed. COMFYUI_API_CHROMIUM names the browser.
// First line out:    {"ready": true, "node_types": N}
// Lines in:          {"name": …, "workflow": …, "random": 0.25?, "serialize": true?}
// Lines out:         {"name": …, "output": API prompt, "workflow": what the frontend would save?}
//                    {"name": …, "error": "why not"}
// With several tabs the answers come in the order in which they are done. It ends when its input does.

import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import readline from 'node:readline'
import { parseArgs } from 'node:util'

const { chromium } = createRequire(path.join(process.cwd(), 'here.js'))('playwright-core')

const OPEN_MILLISECONDS = 60_000
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    tabs: { type: 'string', default: '1' },
    timeout: { type: 'string', default: '60' },
    'object-info': { type: 'string' }
  }
})
const url = new URL(positionals[0])
const timeout = Number(options.timeout) * 1000
const objectInfo = options['object-info'] && fs.readFileSync(options['object-info'], 'utf8')

/** A line for whoever started us: standard output carries nothing else. */
function say(answer) {
  process.stdout.write(JSON.stringify(answer) + '\n')
}

function findChromium() {
  if (process.env.COMFYUI_API_CHROMIUM) return process.env.COMFYUI_API_CHROMIUM
  const folders = (process.env.PATH ?? '').split(path.delimiter).filter(Boolean)
  for (const name of ['chromium', 'chromium-browser', 'google-chrome'])
    for (const folder of folders)
      for (const ending of ['', '.exe'])
        if (fs.existsSync(path.join(folder, name + ending))) return path.join(folder, name + ending)
  throw new Error('No Chromium found: install it, or name it in COMFYUI_API_CHROMIUM.')
}

/** A browser of its own with the frontend loaded, so that a tab that hangs can be ended whole. */
class Tab {
  static async open() {
    const tab = new Tab()
    try {
      tab.browser = await chromium.launch({
        executablePath: findChromium(),
        args: [
          ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
          ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
          // Model links, sign-in and error reports lead outside: they fail at once instead of being waited for.
          `--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE ${url.hostname}`,
          // Previews of files that the server does not have: hundreds of requests that change nothing.
          '--blink-settings=imagesEnabled=false'
        ],
        handleSIGINT: false,
        handleSIGTERM: false,
        handleSIGHUP: false
      })
      // Small, because every load is drawn.
      tab.page = await tab.browser.newPage({ viewport: { width: 320, height: 200 } })
      if (objectInfo) {
        const answer = { contentType: 'application/json', body: objectInfo }
        await tab.page.route('**/api/object_info', (route) => route.fulfill(answer))
      }
      await tab.page.goto(url.href, { timeout: OPEN_MILLISECONDS })
      // Until then the frontend may still load its default workflow over ours (GraphCanvas.vue, finishStartup).
      const started = () => window.app?.extensionManager?.spinner === false && window.app.graph !== undefined
      await tab.page.waitForFunction(started, null, { timeout: OPEN_MILLISECONDS })
      await tab.page.evaluate(inPage.prepare)
    } catch (error) {
      await tab.close()
      throw error
    }
    return tab
  }

  nodeTypes() {
    return this.page.evaluate(() => Object.keys(window.LiteGraph.registered_node_types).length)
  }

  /** The answer as JSON text; rejects if the frontend refuses the workflow, crashes or takes too long. */
  async convert({ workflow, random, serialize }) {
    let timer
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer in ${options.timeout} s`)), timeout)
    })
    // As text: playwright's own way with large objects is slow.
    const job = { text: JSON.stringify(workflow), random, serialize }
    try {
      return await Promise.race([this.page.evaluate(inPage.convert, job), late])
    } finally {
      clearTimeout(timer)
    }
  }

  async close() {
    await this.browser?.close().catch(() => {})
  }

  /** End a browser that may no longer listen: an orderly close would wait half a minute for a page that hangs. */
  async kill() {
    const session = await this.browser.newBrowserCDPSession().catch(() => undefined)
    await session?.send('Browser.crash').catch(() => {})
    await this.close()
  }
}

/** What runs inside the page: it sees nothing of this file. */
const inPage = {
  async prepare() {
    // A load that fails does not reject: the reason is told to extensions only (app.ts, reportGraphLoadFailure).
    window.app.registerExtension({
      name: 'comfyui-api.oracle',
      onGraphLoadError: (error) => (window.oracleLoadError = error)
    })
    window.oracleLoad = (workflow) => {
      window.oracleLoadError = undefined
      // Always the same name: without one, each load opens another workflow tab and writes a draft for it.
      const unasked = { skipAssetScans: true, silentAssetErrors: true, deferWarnings: true }
      return window.app.loadGraphData(workflow, true, false, 'oracle', unasked)
    }
    // The tab of that name: opening one fails for workflows with curves (workflowStore.ts, structuredClone).
    await window.oracleLoad({ nodes: [], links: [], last_node_id: 0, last_link_id: 0, version: 0.4 })
  },

  async convert({ text, random, serialize }) {
    const loaded = await window.oracleLoad(JSON.parse(text))
    if (!loaded) throw window.oracleLoadError ?? new Error('the workflow was not loaded, and no reason given')
    // Some widgets finish their work in a frame.
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))
    const ownRandom = Math.random
    if (typeof random === 'number') Math.random = () => random
    try {
      const { output, workflow } = await window.app.graphToPrompt()
      return JSON.stringify(serialize ? { output, workflow } : { output })
    } finally {
      Math.random = ownRandom
    }
  }
}

/** The first line of what went wrong, without playwright's frame around it. */
function reason(error) {
  return String(error?.message ?? error)
    .split('\n')[0]
    .replace(/^(page\.\w+: )?(Error: )?/, '')
    .trim()
}

/** One worker: takes lines until there are no more. */
async function work(lines, tab) {
  try {
    for (;;) {
      const { value: line, done } = await lines.next()
      if (done) return
      if (!line.trim()) continue
      const job = JSON.parse(line)
      if (typeof job.workflow !== 'object' || job.workflow === null || Array.isArray(job.workflow)) {
        // The frontend would load its default workflow instead.
        say({ name: job.name, error: 'not a workflow: an object is needed' })
        continue
      }
      try {
        tab ??= await Tab.open()
        say({ name: job.name, ...JSON.parse(await tab.convert(job)) })
      } catch (error) {
        say({ name: job.name, error: reason(error) })
        // A failed load leaves half a graph and a dialog behind; a page that hangs or crashed is of no more use.
        await tab?.kill()
        tab = undefined
      }
    }
  } finally {
    await tab?.close()
  }
}

const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'comfyui-api-oracle-'))
// Profiles, caches and whatever else Chromium and playwright put down go there.
for (const name of ['TMPDIR', 'TMP', 'TEMP']) process.env[name] = temporary
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => end(1))

/** Leave nothing behind. Registered last, it runs after playwright's own listener, which ends the browsers. */
function end(code) {
  process.on('exit', () => fs.rmSync(temporary, { recursive: true, force: true, maxRetries: 5 }))
  process.exit(code)
}

try {
  // Made before anything is waited for: lines that come earlier than their reader are lost.
  const lines = readline.createInterface({ input: process.stdin, crlfDelay: Infinity })[Symbol.asyncIterator]()
  const first = await Tab.open()
  say({ ready: true, node_types: await first.nodeTypes() })
  const more = Array.from({ length: Number(options.tabs) - 1 }, () => work(lines))
  await Promise.all([work(lines, first), ...more])
  end(0)
} catch (error) {
  console.error(reason(error))
  end(1)
}
