import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { gateway } from '../conformance.ts';
import { formatCopy, parseCopy } from './copy-format.ts';

const second = { ...gateway, metadata: { name: 'edge', resourceVersion: '7' } };
const text = formatCopy('Gateway', [gateway, second]);

describe('a copy', () => {
  it('gives back what it was made of', () => {
    const parsed = parseCopy('Gateway', text);
    if ('problem' in parsed) throw new Error(parsed.problem);
    expect(parsed.objects.map(({ metadata }) => metadata)).toEqual([gateway.metadata, second.metadata]);
    expect(parsed.skipped).toEqual([]);
    expect(parseCopy('Gateway', formatCopy('Gateway', []))).toEqual({ objects: [], skipped: [] });
  });

  it('cut off anywhere is no copy', () => {
    for (let length = 0; length < text.length; length++) expect(parseCopy('Gateway', text.slice(0, length))).toHaveProperty('problem');
  });

  it('with one byte changed anywhere is no copy', () => {
    for (let i = 0; i < text.length; i++) {
      const changed = `${text.slice(0, i)}${text[i] === '0' ? '1' : '0'}${text.slice(i + 1)}`;
      const parsed = parseCopy('Gateway', changed);
      // The number of objects is for people.
      if (!/"objects":\d+/.exec(text.slice(i - 11, i + 1))) expect(parsed, `byte ${i}`).toHaveProperty('problem');
    }
  });

  it('of another version or another kind is not taken', () => {
    expect(parseCopy('Gateway', text.replace('"version":1', '"version":2'))).toEqual({ problem: 'is no copy of version 1' });
    expect(parseCopy('TunnelEndpoint', text)).toEqual({ problem: 'holds Gateway objects instead of TunnelEndpoint' });
  });

  it('keeps its valid objects when this program takes another for wrong', () => {
    const wrong = { ...gateway, spec: { endpoints: [{ nodeName: 'a1', type: 'tunnel', port: 70_000 }] } } as typeof gateway;
    const parsed = parseCopy('Gateway', formatCopy('Gateway', [wrong, second]));
    if ('problem' in parsed) throw new Error(parsed.problem);
    expect(parsed.objects.map(({ metadata }) => metadata.name)).toEqual(['edge']);
    expect(parsed.skipped[0]).toContain('spec.endpoints[0].port');
  });

  test.prop([fc.string({ unit: 'binary' })])('of anything else is a problem and no exception', (anything) => {
    expect(parseCopy('Gateway', anything)).toHaveProperty('problem');
  });
});
