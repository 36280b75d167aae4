import { describe } from 'vitest';
import { storeConformance } from './conformance.ts';
import { createMemoryStore } from './memory.ts';

describe('memory store', () =>
  storeConformance(async (objects) => {
    const store = createMemoryStore(objects);
    return { store, other: store, close: () => store.close() };
  }));
