import { stringify } from 'yaml';
import { type CustomResourceDefinition, gatewayCrd, tunnelEndpointCrd } from '../../src/api/crd.ts';
import { DEFAULT_NAMESPACE } from '../../src/api/names.ts';
import { createProgram } from '../../src/cli/program.ts';
import { webhookConfigurations } from '../../src/webhook/configurations.ts';
import { eventsPage } from './events-page.ts';
import { flagsPage } from './flags-page.ts';
import { metricsPage } from './metrics-page.ts';
import { schemaPage } from './schema-page.ts';

export interface GeneratedFile {
  /** From the checkout's root. */
  readonly path: string;
  readonly text: string;
}

const HEAD = '# Made by `make generate` from src/api; do not edit.\n';
const GATEWAY =
  'A region: the nodes with the label `raven.openyurt.io/gateway=<name>`, and which of them may connect it with other regions.';
const TUNNEL_ENDPOINT = 'What one gateway node says about itself, named as the node; written by its agent only.';

/** Everything that is checked in and follows from the sources. */
export async function generatedFiles(): Promise<GeneratedFile[]> {
  return [
    { path: 'deploy/crds/gateways.yaml', text: manifest(gatewayCrd()) },
    { path: 'deploy/crds/tunnelendpoints.yaml', text: manifest(tunnelEndpointCrd()) },
    { path: `${CHART}/templates/crds.yaml`, text: chartTemplate([gatewayCrd(), tunnelEndpointCrd()].map(kept)) },
    { path: `${CHART}/templates/webhooks.yaml`, text: chartTemplate(webhookConfigurations()) },
    { path: 'docs/reference/gateway.md', text: schemaPage(gatewayCrd(), GATEWAY) },
    { path: 'docs/reference/tunnelendpoint.md', text: schemaPage(tunnelEndpointCrd(), TUNNEL_ENDPOINT) },
    { path: 'docs/reference/flags.md', text: flagsPage(createProgram({})) },
    { path: 'docs/reference/metrics.md', text: await metricsPage(new URL('../../src/', import.meta.url)) },
    { path: 'docs/reference/events.md', text: eventsPage() },
  ];
}

const CHART = 'deploy/chart/raven';

/** Taking the release away takes no user's objects away. */
function kept(crd: CustomResourceDefinition): unknown {
  return { ...crd, metadata: { ...crd.metadata, annotations: { 'helm.sh/resource-policy': 'keep' } } };
}

/** Objects as a chart has them: in the namespace of the release. */
function chartTemplate(objects: readonly unknown[]): string {
  const texts = objects.map((each) => stringify(each, { aliasDuplicateObjects: false, lineWidth: 140 }));
  return `${HEAD}${texts.join('---\n').replaceAll(`namespace: ${DEFAULT_NAMESPACE}`, 'namespace: {{ .Release.Namespace }}')}`;
}

function manifest(object: unknown): string {
  return `${HEAD}${stringify(object, { aliasDuplicateObjects: false, lineWidth: 140 })}`;
}
