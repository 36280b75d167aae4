import { describe, expect, it } from 'vitest';
import { formatProblem } from '../lib/errors.ts';
import { checkManifests } from './validate-run.ts';

const gateway = (name: string, endpoint: string, version = 'v1beta1'): string =>
  `apiVersion: raven.openyurt.io/${version}\nkind: Gateway\nmetadata:\n  name: ${name}\nspec:\n  endpoints:\n    - ${endpoint}\n`;
const check = (...texts: string[]) => checkManifests(texts.map((text, i) => ({ name: `${i}.yaml`, text })));

describe('raven validate', () => {
  it('finds good manifests of both versions good, and counts what is none of ours', () => {
    const pod = 'apiVersion: v1\nkind: Pod\nmetadata: { name: x }\n';
    const checked = check(`${gateway('a', '{ nodeName: a1, type: tunnel }')}---\n${pod}`, gateway('b', 'nodeName: b1', 'v1alpha1'));
    expect(checked).toEqual({
      ok: true,
      files: 2,
      objects: [
        { kind: 'Gateway', name: 'a', file: '0.yaml', line: 1 },
        { kind: 'Gateway', name: 'b', file: '1.yaml', line: 1 },
      ],
      passedOver: 1,
      problems: [],
    });
  });

  it('shows every problem of every file with its line and field', () => {
    const { ok, problems } = check(
      gateway('a', '{ nodeName: "", type: ipsec }'),
      `${gateway('b', '{ publicIP: here }', 'v1alpha1')}---\n: [`,
      gateway('c', 'nodeName: c1\n      publicIP: here\n      underNAT: true', 'v1alpha1'),
    );
    expect(ok).toBe(false);
    expect(problems.map(formatProblem)).toEqual([
      '0.yaml:7: spec.endpoints[0].nodeName: must not be empty',
      '0.yaml:7: spec.endpoints[0].type: must be tunnel or proxy, not "ipsec"',
      expect.stringMatching(/^1\.yaml:9: is no YAML: /),
      '2.yaml:8: spec.endpoints[0].publicIP: "here" is no IP address',
    ]);
  });

  it('finds the object that stands in two files', () => {
    const same = gateway('a', '{ nodeName: a1, type: tunnel }');
    expect(check(same, same).problems.map(formatProblem)).toEqual(['1.yaml:1: metadata.name: Gateway a is already in 0.yaml:1']);
  });
});
