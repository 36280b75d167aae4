import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import type { Command } from 'commander';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { gatewayCrd } from '../../src/api/crd.ts';
import type { Gateway } from '../../src/api/gateway.ts';
import { GATEWAY_LABEL, WEBHOOK_CERT_SECRET } from '../../src/api/names.ts';
import { createProgram } from '../../src/cli/program.ts';
import { testNode } from '../../src/domain/test-objects.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { KubeClient } from '../../src/store/kube/kube-client.ts';
import { createCertificateHolder } from '../../src/webhook/certificate-holder.ts';
import { runCertificateManager } from '../../src/webhook/certificate-manager.ts';
import { webhookConfigurations } from '../../src/webhook/configurations.ts';
import { startWebhookServer, type WebhookServer } from '../../src/webhook/server.ts';
import { CHECKOUT, kubeBinaries, kubectl } from './api-server.ts';
import { createObject, deleteObjects, openClient } from './clients.ts';
import { type Block, type Page, parsePage, ravenCalls, readPages } from './docs-blocks.ts';
import { type RavenProcess, startRaven } from './raven-process.ts';

const { missing, kubeconfig } = inject('kube');
const helm = kubeBinaries().paths.get('helm');
const PATIENCE = { timeout: 60_000, interval: 100 };
const pages = readPages();

/** A whole manifest, which applies as it stands. */
const isManifest = ({ info }: Block): boolean => info === 'yaml';
/** Settings of the chart. */
const isValues = ({ info }: Block): boolean => info === 'yaml values';
/** Part of an object, for reading. */
const isFragment = ({ info }: Block): boolean => info === 'yaml fragment';

describe('the documentation', () => {
  it('is seen by this test', () => {
    expect(pages.length).toBeGreaterThan(15);
    expect(pages.flatMap(({ links }) => links).length).toBeGreaterThan(40);
    expect(pages.flatMap(({ commands }) => commands.flatMap(({ text }) => ravenCalls(text))).length).toBeGreaterThan(30);
    expect(pages.flatMap(({ blocks }) => blocks.filter(isManifest)).length).toBeGreaterThan(2);
    expect(pages.flatMap(({ blocks }) => blocks.filter(isValues)).length).toBeGreaterThan(0);
  });

  it('links only to pages and headings that there are', () => {
    const anchorsOf = new Map(pages.map(({ file, anchors }) => [file, anchors]));
    const broken = pages.flatMap(({ file, links }) =>
      links
        .filter(({ text }) => {
          const [path = '', anchor] = text.split('#');
          const target = path === '' ? file : normalize(join(dirname(file), path));
          return !existsSync(join(CHECKOUT, target)) || (anchor !== undefined && anchorsOf.get(target)?.has(anchor) !== true);
        })
        .map(({ line, text }) => `${file}:${line}: ${text}`),
    );
    expect(broken).toEqual([]);
  });

  it('calls raven only with commands and flags that there are', () => {
    const wrong = pages.flatMap(({ file, commands }) =>
      commands.flatMap(({ line, text }) =>
        ravenCalls(text).flatMap((words) => {
          const complaint = complaintAbout(words);
          return complaint === undefined ? [] : [`${file}:${line}: raven ${words.join(' ')}: ${complaint}`];
        }),
      ),
    );
    expect(wrong).toEqual([]);
  });

  it('says of each block of YAML what it is: a manifest, `values` of the chart, or a `fragment`', () => {
    const blocks = pages.flatMap(({ file, blocks: all }) => all.map((each) => ({ file, ...each })));
    const strange = blocks.filter((each) => {
      if (!/^ya?ml\b/.test(each.info)) return false;
      if (isManifest(each)) return objectsOf(each).some(({ apiVersion, kind }) => apiVersion === undefined || kind === undefined);
      return !isValues(each) && !isFragment(each);
    });
    expect(strange.map(({ file, line }) => `${file}:${line}`)).toEqual([]);
    for (const each of blocks.filter(isFragment)) expect(() => objectsOf(each), `${each.file}:${each.line}`).not.toThrow();
  });

  it.skipIf(helm === undefined)('sets only what the chart knows', () => {
    for (const { file, blocks } of pages) {
      for (const { line, text } of blocks.filter(isValues)) {
        const args = [
          'template',
          'raven',
          join(CHECKOUT, 'deploy/chart/raven'),
          '-f',
          '-',
          '--set',
          'vpn.existingSecret=x',
          '--set',
          'vpn.psk=',
        ];
        const { status, stderr } = spawnSync(helm!, args, { encoding: 'utf8', input: text });
        expect(status, `${file}:${line}: ${stderr}`).toBe(0);
      }
    }
  });
});

describe('the reader of pages', () => {
  const page = parsePage(
    'x.md',
    [
      '# One `two`: three',
      'See [a](a.md#b), [web](https://example.org); run `raven plan --node N`, not `raven`.',
      '',
      '    bin/raven lab up F \\',
      '      --name x   # comment',
      '```console',
      '$ kubectl exec x -- raven status -o json; helm install raven deploy/chart',
      'raven is no command here',
      '```',
      '```yaml fragment',
      'a: 1',
      '```',
    ].join('\n'),
  );

  it('finds what is typed, linked and shown', () => {
    expect(page.commands.flatMap(({ text }) => ravenCalls(text)).map((words) => words.join(' '))).toEqual([
      'status -o json',
      'lab up F --name x',
      'plan --node N',
    ]);
    expect(page.links).toEqual([{ line: 2, text: 'a.md#b' }]);
    expect([...page.anchors]).toEqual(['one-two-three']);
    expect(page.blocks.map(({ info, line, text }) => [info, line, text])).toContainEqual(['yaml fragment', 11, 'a: 1']);
  });

  it('notices commands and flags that there are not', () => {
    expect(complaintAbout(['lab', 'upp'])).toContain('upp');
    expect(complaintAbout(['status', '--json'])).toContain('--json');
    expect(complaintAbout(['lab', 'exec', 'x', '--', 'ping', '-c3'])).toBeUndefined();
    expect(complaintAbout(['agent', '--cleanup', '--node=x'])).toBeUndefined();
  });
});

/** Each page is a cluster of its own: its nodes are there, its manifests are applied in their order, and its Gateways become Ready. */
describe.skipIf(missing !== undefined)('the manifests of the documentation, on a real API server', () => {
  let client: KubeClient;
  let webhooks: WebhookServer;
  let manager: Promise<void>;
  let controller: RavenProcess;
  const stop = new AbortController();
  const admin = (args: readonly string[], stdin?: string): Promise<string> => kubectl(kubeconfig, args, stdin);

  beforeAll(async () => {
    client = await openClient(kubeconfig);
    const certificates = createCertificateHolder();
    const log = pino({ level: 'silent' });
    webhooks = await startWebhookServer({ address: '127.0.0.1', port: 0, certificates, log });
    const url = `https://127.0.0.1:${webhooks.port}`;
    const webhook = { clientConfig: { url: `${url}/convert` }, conversionReviewVersions: ['v1'] };
    await setConversion({ strategy: 'Webhook', webhook });
    await admin(
      ['apply', '-f', '-'],
      webhookConfigurations(url)
        .map((each) => JSON.stringify(each))
        .join('\n---\n'),
    );
    manager = runCertificateManager({
      client,
      extraNames: { ipAddresses: ['127.0.0.1'] },
      clock: systemClock,
      log,
      signal: stop.signal,
      onCertificate: (pair) => certificates.set(pair),
    });
    controller = startRaven('controller', '--store', `kube:${kubeconfig}`, '--no-leader-elect');
    await controller.logged('all Gateways are up to date');
  });

  afterAll(async () => {
    await controller?.stop('SIGKILL');
    stop.abort();
    await manager;
    await webhooks?.close();
    if (client === undefined) return;
    await deleteObjects(client);
    for (const { kind, metadata } of webhookConfigurations()) await admin(['delete', kind, metadata.name, '--ignore-not-found']);
    await setConversion({ strategy: 'None', webhook: null });
    await admin(['delete', 'secret', WEBHOOK_CERT_SECRET, '-n', 'kube-system', '--ignore-not-found']);
    await client.close();
  });

  /** The suite's CRD has no conversion, as no controller runs for it. */
  function setConversion(conversion: object): Promise<string> {
    const { name } = gatewayCrd().metadata;
    return admin(['patch', 'crd', name, '--type=merge', '-p', JSON.stringify({ spec: { conversion } })]);
  }

  const withManifests = pages.filter(({ blocks }) => blocks.some(isManifest));

  it.each(withManifests.map((page) => [page.file, page] as const))('of %s apply, and their Gateways become Ready', async (_, page) => {
    const manifests = page.blocks.filter(isManifest);
    await makeNodes(page);
    try {
      for (const { line, text } of manifests) await applied(`${page.file}:${line}`, text);
      const names = gatewaysOf(page).map(({ metadata }) => metadata.name);
      await vi.waitFor(async () => {
        for (const name of names) expect(await notTrue(name), `${page.file}: Gateway ${name}`).toEqual([]);
      }, PATIENCE);
    } finally {
      for (const { text } of manifests.toReversed()) await admin(['delete', '--ignore-not-found', '--wait=false', '-f', '-'], text);
      await deleteObjects(client);
    }
  });

  /** The webhooks' certificate takes a moment to be trusted; nothing else may be wrong. */
  async function applied(place: string, text: string): Promise<void> {
    const refusal = await vi.waitFor(async () => {
      try {
        await admin(['apply', '--validate=strict', '-f', '-'], text);
        return undefined;
      } catch (error) {
        if (/x509|tls:|failed calling webhook|conversion webhook/.test(String(error))) throw error;
        return String(error);
      }
    }, PATIENCE);
    expect(refusal, place).toBeUndefined();
  }

  /** Conditions of a Gateway that are not `True`. */
  async function notTrue(name: string): Promise<string[]> {
    const { status } = JSON.parse(await admin(['get', 'gateway', name, '-o', 'json'])) as Gateway;
    const conditions = status?.conditions ?? [];
    if (!conditions.some(({ type }) => type === 'Ready')) return ['Ready is not told yet'];
    return conditions.filter((each) => each.status !== 'True').map(({ type, message }) => `${type}: ${message}`);
  }

  /** Nodes that the Gateways name, Ready and with pods; the labels are those that the page tells its reader to give. */
  async function makeNodes(page: Page): Promise<void> {
    const named = gatewaysOf(page).flatMap(({ metadata, spec }) =>
      spec.endpoints.map(({ nodeName }) => [nodeName, metadata.name] as const),
    );
    const labels = page.commands.filter(({ text }) => text.startsWith('kubectl label node ') && text.includes(`${GATEWAY_LABEL}=`));
    const typed = labels.map(({ text }) => text.split(/\s+/).slice(1));
    const nodes = new Set([
      ...named.map(([node]) => node),
      ...typed.flatMap((words) => words.slice(2).filter((word) => /^[a-z0-9-]+$/.test(word))),
    ]);
    for (const [index, node] of [...nodes].entries()) {
      const podCIDR = `10.244.${index + 1}.0/24`;
      await createObject(client, testNode(node, { ip: `192.168.1.${index + 1}`, podCIDR, podCIDRs: [podCIDR] }));
    }
    for (const words of typed) await admin(words);
    if (typed.length === 0)
      for (const [node, region] of named) await admin(['label', 'node', node, '--overwrite', `${GATEWAY_LABEL}=${region}`]);
  }
});

function objectsOf({ text }: Block): { readonly apiVersion?: string; readonly kind?: string }[] {
  return parseAllDocuments(text).map((each) => {
    if (each.errors.length > 0) throw each.errors[0];
    return (each.toJS() ?? {}) as { apiVersion?: string; kind?: string };
  });
}

function gatewaysOf({ blocks }: Page): Gateway[] {
  return blocks
    .filter(isManifest)
    .flatMap(objectsOf)
    .filter(({ kind }) => kind === 'Gateway') as Gateway[];
}

/** Why commander would refuse the words, as far as commands and flags go; undefined when it would not. */
function complaintAbout(words: readonly string[]): string | undefined {
  let command: Command = createProgram({});
  for (const word of words) {
    if (word === '--') return undefined;
    if (word.startsWith('-')) {
      const [flag = ''] = word.split('=');
      const known = ['-h', '--help', ...command.options.flatMap(({ short, long }) => [short, long])];
      if (!known.includes(flag) && !(command.parent === null && flag === '--version')) return `${command.name()} has no ${flag}`;
    } else if (command.commands.length > 0) {
      const next = command.commands.find((each) => each.name() === word);
      if (next === undefined && word !== 'help') return `${command.name()} has no command ${word}`;
      command = next ?? command;
    }
  }
  return undefined;
}
