import type { BlockAffinity, Node } from '../api/core.ts';
import { hasCalico } from '../domain/node-facts.ts';
import { compareText } from '../lib/compare.ts';
import { createMultiMap } from './multi-map.ts';

/** The blocks of pod addresses that Calico gave to nodes. */
export interface BlockBook {
  setNode(node: Node): void;
  deleteNode(name: string): void;
  /** @returns the nodes of which the facts may be others now */
  set(block: BlockAffinity): readonly Node[];
  delete(name: string): readonly Node[];
  /** A node's CIDRs; undefined as long as there is no block at all: then its addresses come from elsewhere. */
  cidrsOf(node: string): readonly string[] | undefined;
}

interface Block {
  readonly node: string;
  readonly cidr: string;
}

export function createBlockBook(): BlockBook {
  /** With Calico, as only these depend on blocks. */
  const nodes = new Map<string, Node>();
  const blocks = new Map<string, Block>();
  const blocksOfNode = createMultiMap();

  function replace(name: string, next: Block | undefined): readonly Node[] {
    const old = blocks.get(name);
    const hadSome = blocks.size > 0;
    if (old !== undefined) blocksOfNode.delete(old.node, name);
    if (next === undefined) blocks.delete(name);
    else {
      blocks.set(name, next);
      blocksOfNode.add(next.node, name);
    }
    // The first block and the last say for all nodes where their addresses come from.
    const touched = hadSome === blocks.size > 0 ? [old?.node, next?.node] : [...nodes.keys()];
    return touched.flatMap((each) => (each === undefined ? [] : (nodes.get(each) ?? [])));
  }

  return {
    setNode: (node) => {
      const { name } = node.metadata;
      if (hasCalico(node)) nodes.set(name, node);
      else nodes.delete(name);
    },
    deleteNode: (name) => void nodes.delete(name),
    set: ({ metadata, spec: { node, cidr, state } }) => replace(metadata.name, state === 'confirmed' ? { node, cidr } : undefined),
    delete: (name) => replace(name, undefined),
    cidrsOf: (node) => {
      if (blocks.size === 0) return undefined;
      const names = [...blocksOfNode.get(node)].toSorted(compareText);
      return names.flatMap((name) => blocks.get(name)?.cidr ?? []);
    },
  };
}
