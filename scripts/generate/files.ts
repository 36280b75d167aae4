import { stringify } from 'yaml';
import { gatewayCrd, tunnelEndpointCrd } from '../../src/api/crd.ts';

export interface GeneratedFile {
  /** From the checkout's root. */
  readonly path: string;
  readonly text: string;
}

const HEAD = '# Made by `make generate` from src/api; do not edit.\n';

/** Everything that is checked in and follows from the sources. */
export async function generatedFiles(): Promise<GeneratedFile[]> {
  return [
    { path: 'deploy/crds/gateways.yaml', text: manifest(gatewayCrd()) },
    { path: 'deploy/crds/tunnelendpoints.yaml', text: manifest(tunnelEndpointCrd()) },
  ];
}

function manifest(object: unknown): string {
  return `${HEAD}${stringify(object, { aliasDuplicateObjects: false, lineWidth: 140 })}`;
}
