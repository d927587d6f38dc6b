// The dashboard and the alerts ask only for what the broker tells: every metric and label that they name exists, and every alert says what
// it means and what to do first.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { METRICS, metrics } from '../../src/observe/metrics.ts'

const DEPLOY = resolve(import.meta.dirname, '../../deploy')
const read = (file: string): string => readFileSync(resolve(DEPLOY, file), 'utf8')

interface Alert {
  readonly alert: string
  readonly expr: string
  readonly for: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string; readonly runbook: string }
}
interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number }
  readonly targets?: readonly {
    readonly refId: string
    readonly expr: string
    readonly datasource: { readonly uid: string }
  }[]
}
const alerts: readonly Alert[] = parse(read('prometheus/alerts.yaml')).groups.flatMap(
  (group: { readonly rules: readonly Alert[] }) => group.rules,
)
const dashboard: {
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly { readonly name: string }[] }
} = JSON.parse(read('grafana/writ.json'))
const queries = [...alerts, ...dashboard.panels.flatMap(({ targets = [] }) => targets)].map(({ expr }) => expr)

const WORDS = new Set(
  'sum max min by and or unless on offset rate increase histogram_quantile absent count bool without ignoring'.split(
    ' ',
  ),
)
/** Names of metrics in a query, with the labels that are asked of each. */
function asked(query: string): readonly { readonly name: string; readonly labels: readonly string[] }[] {
  const bare = query.replace(/"[^"]*"/g, '""').replace(/\[[^\]]*\]/g, '')
  const grouped = bare.replace(/\b(by|without|on|ignoring)\s*\([^)]*\)/g, '')
  return [...grouped.matchAll(/(?<![\w:.$])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?/g)]
    .filter(([, name = '']) => !WORDS.has(name))
    .map(([, name = '', labels = '']) => ({
      name,
      labels: [...labels.matchAll(/(\w+)\s*[=!]/g)].map(([, label = '']) => label),
    }))
}
/** Labels that a query groups by. */
const groupedBy = (query: string): readonly string[] =>
  [...query.matchAll(/\bby\s*\(([^)]*)\)/g)].flatMap(([, labels = '']) =>
    labels.split(',').map((label) => label.trim()),
  )

let known: ReadonlyMap<string, readonly string[]>
beforeAll(async () => {
  const labelsOf = new Map<string, readonly string[]>(
    Object.entries(METRICS).map(([name, { labels }]) => [`writ_${name}`, labels]),
  )
  const { text } = await metrics().text()
  known = new Map(
    [...text.matchAll(/^# TYPE (\S+) (\w+)$/gm)].flatMap(([, name = '', kind]) =>
      (kind === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']).map((part) => [
        `${name}${part}`,
        labelsOf.get(name) ?? [],
      ]),
    ),
  )
})

/** What Prometheus itself puts on every sample, and on every bucket. */
const EVERYWHERE = ['instance', 'le']
const unknownIn = (query: string): readonly string[] => [
  ...asked(query).flatMap(({ name, labels }) => {
    const own = known.get(name)
    if (own === undefined) return [name]
    return labels.filter((label) => ![...own, ...EVERYWHERE].includes(label)).map((label) => `${name}{${label}}`)
  }),
  ...groupedBy(query).filter(
    (label) => !EVERYWHERE.includes(label) && !asked(query).every(({ name }) => known.get(name)?.includes(label)),
  ),
]

describe('dashboard and alerts', () => {
  it('name no metric and no label that the broker does not tell', () => {
    expect(queries.length).toBeGreaterThan(40)
    expect(queries.flatMap(unknownIn)).toEqual([])
  })

  it('the search for names finds one that does not exist, wherever it stands', () => {
    for (const [query, wrong] of [
      ['sum(rate(writ_nothing_total[5m]))', 'writ_nothing_total'],
      ['max(writ_ready) == 0 and up{job="writ"} == 1', 'up'],
      ['histogram_quantile(0.9, sum by (le) (rate(writ_mint_seconds[5m])))', 'writ_mint_seconds'],
      ['writ_ready{person="x"}', 'writ_ready{person}'],
      ['sum by (person) (writ_grants)', 'person'],
      ['writ_ready > 5 * other_total offset 10m', 'other_total'],
    ])
      expect(unknownIn(query ?? '')).toEqual([wrong])
  })

  it('every alert says how bad it is, what is at stake and what to do first', () => {
    for (const { alert, for: wait, labels, annotations } of alerts) {
      expect(alert).toMatch(/^Writ[A-Za-z]+$/)
      expect(wait, alert).toMatch(/^\d+[smh]$/)
      expect(labels.severity, alert).toMatch(/^(critical|warning|info)$/)
      for (const sentence of [annotations.summary, annotations.runbook])
        expect(sentence, alert).toMatch(/^[A-Z].{30,}\.$/)
    }
    expect(new Set(alerts.map(({ alert }) => alert)).size).toBe(alerts.length)
  })

  it('the dashboard has no two panels in one place, and each asks the data source that is chosen', () => {
    const { panels, templating } = dashboard
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    const cells = panels.flatMap(({ gridPos: { h, w, x, y } }) =>
      Array.from({ length: h * w }, (_, n) => `${x + (n % w)},${y + Math.floor(n / w)}`),
    )
    expect(new Set(cells).size).toBe(cells.length)
    expect(Math.max(...panels.map(({ gridPos: { x, w } }) => x + w))).toBe(24)
    for (const { type, title, description, targets = [] } of panels) {
      if (type === 'row') continue
      expect(description, title).toMatch(/\.$/)
      expect(targets.length, title).toBeGreaterThan(0)
      for (const { datasource } of targets) expect(datasource.uid, title).toBe(`$\{${templating.list[0]?.name}}`)
    }
  })
})
