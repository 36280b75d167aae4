import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { diffJson, type PatchOperation } from './json-patch.ts';

describe('diffJson', () => {
  it('says only what differs', () => {
    const before = { metadata: { name: 'b' }, spec: { endpoints: [{ nodeName: 'b1', port: 0 }, { nodeName: 'b2' }] } };
    const after = {
      metadata: { name: 'b' },
      spec: {
        nodeSelector: { matchLabels: {} },
        endpoints: [
          { nodeName: 'b1', port: 4500 },
          { nodeName: 'b2', port: 4500 },
        ],
      },
    };
    expect(diffJson(before, after)).toEqual([
      { op: 'replace', path: '/spec/endpoints/0/port', value: 4500 },
      { op: 'add', path: '/spec/endpoints/1/port', value: 4500 },
      { op: 'add', path: '/spec/nodeSelector', value: { matchLabels: {} } },
    ]);
  });

  it('replaces a list whose length differs, and removes what is gone', () => {
    expect(diffJson({ list: [1], old: 1 }, { list: [1, 2] })).toEqual([
      { op: 'replace', path: '/list', value: [1, 2] },
      { op: 'remove', path: '/old' },
    ]);
  });

  it('escapes the names of members (RFC 6901)', () => {
    expect(diffJson({}, { 'raven.openyurt.io/gateway~': 'b' })).toEqual([{ op: 'add', path: '/raven.openyurt.io~1gateway~0', value: 'b' }]);
  });

  // Documents of few keys and values, so that two of them often have something in common.
  const { document } = fc.letrec((tie) => ({
    document: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom(null, 0, 1, 'x', true),
      fc.array(tie('document'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom('a', 'b', '~/', 'constructor', ''), tie('document'), { maxKeys: 3 }),
    ),
  }));

  test.prop([document, document])('leads from any document to any other', (before, after) => {
    expect(applyPatch(before, diffJson(before, after))).toEqual(after);
    expect(diffJson(before, structuredClone(before))).toEqual([]);
  });
});

/** RFC 6902, read literally. */
function applyPatch(document: unknown, operations: readonly PatchOperation[]): unknown {
  const root = { root: structuredClone(document) };
  for (const operation of operations) {
    const keys = ['root', ...operation.path.split('/').slice(1)].map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = keys.pop() as string;
    const target = keys.reduce((node, key) => node[key] as Record<string, unknown>, root as Record<string, unknown>);
    if (operation.op !== 'add' && !Object.hasOwn(target, last)) throw new Error(`nothing is at ${operation.path}`);
    if (operation.op === 'remove') delete target[last];
    else target[last] = operation.value;
  }
  return root.root;
}
