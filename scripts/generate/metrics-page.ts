import { readdir } from 'node:fs/promises';
import { page, table } from './markdown.ts';

interface Metric {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly labelNames: readonly string[];
}

/** Programs that have metrics; each lists them in a module `*-metrics.ts` of its folder, as an exported `…_METRICS`. */
const PROGRAMS = { agent: '`raven agent`', controller: '`raven controller`', webhook: 'The webhooks of `raven controller`' } as const;

/** The reference of all metrics. */
export async function metricsPage(sources: URL): Promise<string> {
  const sections: string[] = [];
  for (const [folder, title] of Object.entries(PROGRAMS)) {
    const metrics = await metricsOf(new URL(`${folder}/`, sources));
    const rows = metrics.map(({ name, type, labelNames, help }) => [
      `\`${name}\``,
      type,
      labelNames.map((label) => `\`${label}\``).join(', '),
      help,
    ]);
    if (rows.length > 0) sections.push(`## ${title}`, table(['metric', 'type', 'labels', 'meaning'], rows));
  }
  return page('# Metrics\n\nFor Prometheus, at `/metrics` on the port of `--metric-bind-addr`.', ...sections);
}

async function metricsOf(folder: URL): Promise<Metric[]> {
  const files = await readdir(folder).catch((): string[] => []);
  const modules = files.filter((file) => file.endsWith('-metrics.ts')).toSorted();
  const found: Metric[] = [];
  for (const module of modules) {
    const exported = (await import(new URL(module, folder).href)) as Readonly<Record<string, unknown>>;
    const lists = Object.entries(exported).filter(([name]) => name.endsWith('_METRICS'));
    for (const [, list] of lists) found.push(...Object.values(list as Readonly<Record<string, Metric>>));
  }
  return found;
}
