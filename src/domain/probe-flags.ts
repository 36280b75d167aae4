export type Stance = 'carries' | 'leaves';

/** The byte that each probe carries, in request and answer. */
export interface Statement {
  /** That packets for other regions, or from them, get through the sender. */
  readonly forwards: boolean;
  /** Of an endpoint that has decided: it is the exit of its region (carries), or sends packets to the other one (leaves). */
  readonly stance: Stance | undefined;
  /** It carries because the controller changed its order. */
  readonly ruled: boolean;
  /** The receiver is the exit of the sender. */
  readonly uses: boolean;
  /** Packets of the sender get through its exit. */
  readonly works: boolean;
  /** They do not, although the exit answers. */
  readonly distrusts: boolean;
}

/** Of a node that has nothing to choose. */
export const SAYS_NOTHING: Statement = { forwards: true, stance: undefined, ruled: false, uses: false, works: false, distrusts: false };

/** Set in every statement: 0 states nothing. */
const STATES = 1;
const DOES_NOT_FORWARD = 2;
const USES = 4;
const WORKS = 8;
const DISTRUSTS = 16;
const CARRIES = 32;
const LEAVES = 64;
const RULED = 128;

export function encodeStatement({ forwards, stance, ruled, uses, works, distrusts }: Statement): number {
  const bits = [
    forwards ? 0 : DOES_NOT_FORWARD,
    stance === 'carries' ? CARRIES : stance === 'leaves' ? LEAVES : 0,
    ruled ? RULED : 0,
    uses ? USES : 0,
    works ? WORKS : 0,
    distrusts ? DISTRUSTS : 0,
  ];
  return bits.reduce((all, bit) => all | bit, STATES);
}

/** @returns undefined when nothing is stated */
export function decodeStatement(flags: number): Statement | undefined {
  const has = (bit: number): boolean => (flags & bit) !== 0;
  if (!has(STATES)) return undefined;
  const stance = has(CARRIES) ? 'carries' : has(LEAVES) ? 'leaves' : undefined;
  return {
    forwards: !has(DOES_NOT_FORWARD),
    stance,
    ruled: has(RULED),
    uses: has(USES),
    works: has(WORKS),
    distrusts: has(DISTRUSTS),
  };
}
