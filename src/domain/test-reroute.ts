import type { Stance } from './probe-flags.ts';
import { choose, formatReroute } from './reroute.ts';
import { observe, type RerouteEvent } from './reroute-events.ts';
import { INITIAL_REROUTE, type RerouteState, type RerouteView } from './reroute-state.ts';

/** Nodes of a region with two live endpoints, for tests of what they choose. */

/** Region b with endpoints b1 (the controller's choice) and b3; far region a with a1 and a3. */

export const ordinary: RerouteView = {
  node: 'b2',
  own: { name: 'b', live: ['b1', 'b3'], isShared: false },
  others: [{ name: 'a', live: [], isShared: false }],
  tunnels: [],
  through: [['a1']],
  lanes: new Map(),
  isBlocked: false,
  drained: [],
  hasOrdinary: true,
};
export const endpoint = (node: string): RerouteView => ({
  node,
  own: { name: 'b', live: ['b1', 'b3'], isShared: false },
  others: [{ name: 'a', live: ['a1', 'a3'], isShared: false }],
  tunnels: ['a1', 'a3'],
  through: [[]],
  lanes: new Map(),
  isBlocked: false,
  drained: [],
  hasOrdinary: true,
});

/** A node that drives its reducer along a script of `what happened` at 250 ms a line. */
export class ScriptedNode {
  state: RerouteState = INITIAL_REROUTE;
  nowMs = 1_000_000;
  view: RerouteView;
  readonly log: string[] = [];

  constructor(view: RerouteView) {
    this.view = view;
  }

  /** `lan b1`, `lan b1 !forwards`, `lan b1 leaves uses` (by us), `lan b1 carries leaves` (by lane; -: has not decided), `lan b1 missed`, `lan b1 refused`, `tunnel a1 bytes 7`, `report b9 uses distrusts`, `report b9 second works` (of lane 1) */
  step(...lines: (string | RerouteEvent)[]): this {
    this.nowMs += 250;
    for (const line of lines) this.state = observe(this.state, typeof line === 'string' ? this.parse(line) : line, this.view.lanes);
    const { state, changes } = choose(this.state, this.view, this.nowMs);
    this.state = state;
    this.log.push(...changes.map(formatReroute));
    return this;
  }

  repeat(times: number, ...lines: string[]): this {
    for (let i = 0; i < times; i++) this.step(...lines);
    return this;
  }

  private parse(line: string): RerouteEvent {
    const [kind = '', target = '', ...words] = line.split(' ');
    const has = (word: string): boolean => words.includes(word);
    const atMs = this.nowMs;
    if (kind === 'report')
      return {
        type: 'reported',
        node: target,
        lane: has('second') ? 1 : 0,
        uses: has('uses'),
        works: has('works'),
        distrusts: has('distrusts'),
        atMs,
      };
    if (has('bytes')) return { type: 'received', peer: target, bytes: Number(words[1]), atMs };
    if (has('refused')) return { type: 'refused', target, atMs };
    if (kind !== 'lan' && kind !== 'tunnel' && kind !== 'through') throw new Error(line);
    if (has('missed')) return { type: 'missed', kind, target, sentMs: atMs - 200 };
    const lanes = words.flatMap((word): { stance: Stance | undefined }[] =>
      word === 'carries' || word === 'leaves' || word === 'waits' ? [{ stance: word }] : word === '-' ? [{ stance: undefined }] : [],
    );
    const ruled = has('ruled');
    const uses = kind === 'tunnel' ? !has('!uses') : has('uses');
    const said = (lanes.length === 0 ? [{ stance: undefined }] : lanes).map((lane) => ({ ...lane, ruled, uses }));
    return { type: 'answered', kind, target, forwards: !has('!forwards'), lanes: said, atMs };
  }

  get exit(): string | undefined {
    return this.state.choices.exits[0];
  }

  get exits(): readonly (string | undefined)[] {
    return this.state.choices.exits;
  }

  entry(region = 'a'): string | undefined {
    return this.state.choices.entry.get(region);
  }
}

export const well = (): ScriptedNode => new ScriptedNode(ordinary).repeat(8, 'lan b1 carries', 'lan b3', 'through a1');
