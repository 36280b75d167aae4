import { describe, expect, it } from 'vitest';
import { trim } from './trim.ts';

describe('trim', () => {
  it('leaves out who wrote which field, and of Nodes what is long and read by nobody', () => {
    const metadata = { name: 'a1', labels: { x: 'y' } };
    const addresses = [{ type: 'InternalIP', address: '192.0.2.1' }];
    const node = {
      metadata: { ...metadata, managedFields: [{}] },
      spec: { podCIDR: 'x' },
      status: { addresses, conditions: [], images: [{}] },
    };
    expect(trim('Node', node)).toEqual({ metadata, spec: { podCIDR: 'x' }, status: { addresses, conditions: [] } });
    expect(trim('Gateway', { ...node, status: { anything: 1 } })).toEqual({ metadata, spec: { podCIDR: 'x' }, status: { anything: 1 } });
    expect(trim('Node', { metadata: 'wrong' })).toEqual({ metadata: 'wrong' });
  });
});
